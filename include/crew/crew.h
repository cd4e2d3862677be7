/*
 * crew/crew.h - parallel programming with processes: everything
 *
 * Read in this order: init.h, process.h, memory.h, lock.h, queue.h, pool.h, task.h, parallel.h.
 */
#ifndef CREW_CREW_H
#define CREW_CREW_H

#include <crew/base.h>
#include <crew/error.h>
#include <crew/probe.h>
#include <crew/trace.h>
#include <crew/init.h>
#include <crew/memory.h>
#include <crew/map.h>
#include <crew/region.h>
#include <crew/lock.h>
#include <crew/rwlock.h>
#include <crew/semaphore.h>
#include <crew/undo.h>
#include <crew/counter.h>
#include <crew/condition.h>
#include <crew/event.h>
#include <crew/barrier.h>
#include <crew/once.h>
#include <crew/latch.h>
#include <crew/process.h>
#include <crew/pipe.h>
#include <crew/tube.h>
#include <crew/queue.h>
#include <crew/wait.h>
#include <crew/pool.h>
#include <crew/task.h>
#include <crew/parallel.h>
#include <crew/cluster.h>
#include <crew/news.h>
#include <crew/observe.h>
#include <crew/deadlock.h>

#endif
