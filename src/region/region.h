/*
 * region.h - the family's shared memory, and who is in it
 *
 * One sparse memfd, mapped once at an address that the kernel chose and inherited
 * by fork, so a pointer into it is good in every member. Or a file with a name, mapped at the
 * address that its front names, in several programs: each is a small family of its own in
 * one region (named.c). Its front:
 *
 *     region | slots (processes) | lanes (threads) | roots of upper layers | heap
 *
 * Offsets (uint64_t, from the start of the region, 0 = none) and pointers are both fine
 * in a region; offsets are what upper layers link with.
 */
#ifndef CREW_REGION_REGION_H
#define CREW_REGION_REGION_H

#include <sys/types.h>
#include <crew/region.h>

#define CREW__PAGE UINT64_C(4096)
#define CREW__BOARD UINT64_C(49152)
#define CREW__SLOTS 16385u /* processes; number 0 is nobody */
#define CREW__LANES 16385u /* threads; number 0 is nobody */

/*
 * An id names one life of a number, 30 bits:
 * number in bits 0-14, generation in bits 15-29. 0 is nobody. The generation changes when
 * the number is given to somebody else, so an id names one life and is never reused soon.
 */
static inline uint32_t crew__id(uint32_t number, uint32_t generation)
{
	return number | (generation & 0x7fffu) << 15;
}
static inline uint32_t crew__number(uint32_t id) { return id & 0x7fffu; }
static inline uint32_t crew__generation(uint32_t id) { return id >> 15; }

enum crew__slot_state {
	CREW__SLOT_FREE,     /* nobody */
	CREW__SLOT_STARTING, /* claimed by whoever starts a process; no process yet, or one in setup */
	CREW__SLOT_RUNNING,  /* pid is valid until ENDED */
	CREW__SLOT_ENDED     /* status is valid; stays until the starter closes its handle, or is gone */
};

/*
 * A process of the family. Writers: whoever claimed it while STARTING (but pid, by CAS with `parent`, and state ->
 * RUNNING: the child itself); the reaper (whoever waitid()s it) at the end, status first, state ENDED last;
 * the starter again, ENDED -> FREE. `state` is a futex: joiners sleep on it.
 *
 * {state, generation} and {parent, pid} are changed as 64-bit words, so that a latecomer of an earlier life
 * of the number cannot change a later one.
 */
struct crew__slot {
	uint32_t state;
	uint32_t generation;  /* of this number; changed when it becomes FREE */
	uint32_t parent;      /* id of the member that started it: the claim. 0: free. A founder's is its own */
	pid_t pid;
	uint32_t helper;      /* 1: keeper or zygote */
	uint32_t detached;    /* outlives the family and is no member */
	uint32_t disowned;    /* nobody has a handle on it: its reaper gives the slot up */
	uint32_t forked;      /* by its starter, who reaps it; not by the zygote */
	uint32_t has_started; /* it may have children: somebody must look for them when it ends */
	int32_t ended_code;   /* CLD_EXITED, CLD_KILLED, CLD_DUMPED, or 0: unknown */
	int32_t ended_status; /* exit code or signal */
	int32_t said;         /* its function's result + 1, by itself, last of all: where nobody can tell how it ended */
	uint32_t program;     /* id of the founder of its program */
	uint64_t born[2];     /* it was forked between these, ns of CLOCK_BOOTTIME: tells a reused pid apart. Set a moment after RUNNING */
	uint64_t user_ns, system_ns, max_rss;
	char name[32];
	uint64_t spare[4];
};

struct crew__region {
	uint64_t magic;         /* these three are read first, and stay where they are in every version */
	uint32_t version;
	uint32_t layout;        /* a hash of what else must be the same in all programs */
	uint64_t bytes;         /* of the whole region */
	uint64_t address;       /* of a named region: where it is mapped, in every program */
	uint64_t pids;          /* of a named region: which pid namespace its programs live in */
	char name[CREW_NAME_MAX + 1]; /* "": none */
	uint64_t memory_cap;    /* bytes the heap may commit */
	uint64_t slots, lanes;  /* offsets of the tables */
	uint64_t heap;          /* offset of the heap: from here to the end it belongs to the layer memory */
	uint32_t slots_high;    /* numbers below this may be in use; grows only */
	uint32_t lanes_high;
	uint64_t deaths;        /* lanes found dead and repaired */
	uint64_t scanned;       /* when a sleeper last looked at all lanes, ns */
	uint32_t circle_guard;  /* of a section: who looks for deadlocks (sync) */
	uint32_t spare_;
	uint64_t healed;        /* see crew_observation.healed_by_slice */
	uint64_t late;          /* sleeps that their slice has ended though the word had changed: healed, or another sleeper was woken */
	uint64_t board;         /* offset of CREW__BOARD bytes for the layer sync (sync/board.h) */
	uint64_t root[8];       /* for upper layers. 0, 1: the list of pools (pool/registry.c); 2: epoch of the maps (memory/map_epoch.c);
	                           4, 5: blocks with names (memory/root.c) */
};

/* This process's view. Written by crew__region_create and after fork; read by all layers. */
struct crew__family {
	struct crew__region *region; /* NULL: no family */
	uint64_t bytes;              /* region->bytes; 0: no family */
	uint64_t slots, lanes;       /* as in the region, where somebody may have scribbled */
	int memfd;                   /* for fallocate */
	uint32_t self;               /* id of this process; 0: no member */
	uint32_t program;            /* id of the founder of this program */
	bool founder;                /* this process called crew_init */
	bool named;
};
extern struct crew__family crew__family;

/* Create the region and make this process its founder (slot 1). Errors as crew_init. */
int crew__region_create(uint64_t bytes, uint64_t memory_cap);

/*
 * The same for a name: attach to the region of that name, or create one that has no name yet (*ret_created). Either way this
 * process is a founder afterwards. An attacher has the door locked until crew__region_admit: it is the only one to come in, and
 * clears up after the dead meanwhile. crew__region_publish: 0, or -EEXIST when another has been faster.
 */
struct crew__naming { const char *name; bool must_exist, must_be_new; uint32_t layout; uint64_t bytes, memory_cap; };
int crew__region_open(const struct crew__naming *naming, bool *ret_created);
int crew__region_publish(void);
void crew__region_admit(void);

/* Whether the program whose founder has that slot is still there; the kernel knows (named.c). Without a name: true. */
bool crew__program_lives(uint32_t number);

/* Unmap and forget the family; the tables stay mapped if other threads of this process have lanes. */
void crew__region_forget(void);

static inline void *crew__at(uint64_t offset)
{
	return (char *)crew__family.region + offset;
}
static inline uint64_t crew__offset(const void *pointer)
{
	return (uint64_t)((const char *)pointer - (const char *)crew__family.region);
}
static inline bool crew__in_region(const void *pointer, size_t size)
{
	uint64_t offset = (uint64_t)((uintptr_t)pointer - (uintptr_t)crew__family.region);
	return offset < crew__family.bytes && size <= crew__family.bytes - offset;
}

/*
 * What lies at an offset that was found in the region, where somebody may have scribbled: NULL unless `size` bytes of the region
 * are there, aligned to 4. For sweeps and other slow ways; none of them follows an offset unchecked.
 */
static inline void *crew__inside(uint64_t offset, size_t size)
{
	void *at = crew__at(offset);
	return offset && offset % 4 == 0 && crew__in_region(at, size) ? at : NULL;
}

/* Claim a free slot for a child of `parent` (0: for a founder): state STARTING, all else zero. Returns its id, or 0 when none is left. */
uint32_t crew__slot_claim(uint32_t parent);

/* The slot of a living or ended process by id; NULL if that life is over (generation gone). */
struct crew__slot *crew__slot_get(uint32_t id);
struct crew__slot *crew__slot_at(uint32_t number);

/* Change the state of that life of a slot; false if it is not in `from`, or over. */
bool crew__slot_move(uint32_t id, enum crew__slot_state from, enum crew__slot_state to);

/* Its pid as of now: whoever looks for the dead looks while the slot may change hands. */
static inline pid_t crew__slot_pid(const struct crew__slot *slot)
{
	return __atomic_load_n(&slot->pid, __ATOMIC_RELAXED);
}

/* In a new process: its pid, once, while its starter's claim stands. */
bool crew__slot_register(uint32_t id, uint32_t parent, pid_t pid);

/*
 * STARTING or ENDED -> FREE, generation + 1, parent 0 last; anything else stays as it is. If the releaser, or a
 * parent, dies, the layer process calls crew__slot_abandon for what that one had: the same for a slot that is not RUNNING,
 * and for a claim that went no further. A RUNNING one is released by who reaps it, because its parent lives no more.
 */
void crew__slot_release(uint32_t id);
void crew__slot_abandon(uint32_t number, uint32_t dead_parent);

/* Of /proc/PID/stat. False if it cannot be read. */
struct crew__stat { pid_t parent, group; bool zombie, stopped; uint64_t born; /* ns of CLOCK_BOOTTIME, rounded down to a tick */ };
bool crew__stat(pid_t pid, struct crew__stat *ret);

/* CLOCK_BOOTTIME, ns. */
uint64_t crew__boottime(void);

/* Whether the process that has this pid now may be the slot's, by the time when it was born. True where that is not known. */
bool crew__slot_fits(const struct crew__slot *slot, pid_t pid);

/* In a process just forked: become the member `id` (0: none). Forgets the parent's lane. */
void crew__become(uint32_t id);

/* Whether that process is still there: RUNNING or STARTING. */
bool crew__process_lives(uint32_t id);

/*
 * What must happen in a child forked by anybody (crew or the program): registered once, run
 * from pthread_atfork in the child, in order of registration.
 */
void crew__at_fork(void (*child)(void));

#endif
