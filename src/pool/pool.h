/* pool.h - what crew_init and the layers above ask of this layer */
#ifndef CREW_POOL_POOL_H
#define CREW_POOL_POOL_H

#include "pool/ledger.h"

/* In crew_fini, founder: terminate the pools that are still open. */
void crew__pool_fini(void);

/* Around every call of a user of the pool. Errors: -ENOTCONN -EPERM (another process's pool) -EDEADLK (from inside its task). */
int crew__pool_use(struct crew_pool *pool);
void crew__pool_done(struct crew_pool *pool);

/* crew__task_put by the rules of the pool's mode. */
int crew__pool_put(struct crew_pool *pool, struct crew__batch *batch, const struct crew_task *task, const void *body,
		size_t body_size, crew_time deadline, struct crew__task **ret, uint32_t *ret_generation);

#endif
