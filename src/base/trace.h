/* trace.h - the descriptor that members must keep open, or -1 */
#ifndef CREW_BASE_TRACE_H
#define CREW_BASE_TRACE_H

int crew__trace_fd(void);

#endif
