/*
 * tree.c - end a process and everything that it has started
 *
 * The tree: the process; of each of its nodes the children (parent pid), the group that it leads, and the members that
 * it had the zygote start (slot.parent). It is found in /proc and in the slots; without /proc in the slots alone.
 *
 * By force: SIGSTOP all, look again, until nothing new is found; then SIGKILL. Whoever is stopped forks no
 * more and, because nobody has died yet, nobody has lost the parent by which it is found.
 *
 * Of a process that has ended already there is no tree to be found any more, but the group that it led: its
 * pidfd still names it, whoever may have the pid now (Linux 6.9).
 *
 * A node is a pid and the time of its birth, checked after a pidfd has been opened: a reused pid is no node.
 */
#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/probe.h"
#include "process/internal.h"

struct node {
	pid_t pid, parent, group;
	uint64_t born;
	uint32_t id;         /* as a member; or 0 */
	uint32_t starter;    /* that member's parent */
	bool in_tree, ended;
	bool apart;          /* detached: outlives who started it */
};

/* All processes there are, or were at an earlier look; those of the tree are marked. */
struct view { struct node *nodes; size_t count, room; };

static struct node *find(struct view *view, pid_t pid, uint64_t born)
{
	for (size_t i = 0; i < view->count; i++)
		if (view->nodes[i].pid == pid && view->nodes[i].born == born)
			return &view->nodes[i];
	return NULL;
}

static struct node *add(struct view *view, pid_t pid, uint64_t born)
{
	struct node *node = find(view, pid, born);
	if (node)
		return node;
	if (view->count == view->room) {
		size_t room = view->room ? 2 * view->room : 256;
		struct node *more = realloc(view->nodes, room * sizeof *more);
		if (!more)
			return NULL;
		view->nodes = more;
		view->room = room;
	}
	node = &view->nodes[view->count++];
	*node = (struct node){ .pid = pid, .born = born };
	return node;
}

static void look_at_processes(struct view *view)
{
	DIR *proc = crew__has(CREW__FEATURE_PROC) ? opendir("/proc") : NULL;
	if (!proc)
		return;
	for (struct dirent *entry; (entry = readdir(proc));) {
		struct crew__stat seen;
		pid_t pid = isdigit((unsigned char)*entry->d_name) ? (pid_t)atoi(entry->d_name) : 0;
		if (!pid || !crew__stat(pid, &seen) || seen.zombie)
			continue;
		struct node *node = add(view, pid, seen.born);
		if (node) {
			node->parent = seen.parent;
			node->group = seen.group;
		}
	}
	closedir(proc);
}

/* When that process was born; 0 where that cannot be known. */
static uint64_t born(pid_t pid)
{
	struct crew__stat stat;
	return crew__stat(pid, &stat) ? stat.born : 0;
}

static void look_at_slots(struct view *view)
{
	struct crew__slot *slot;
	for (uint32_t number = 1; (slot = crew__slot_at(number)); number++) {
		if (__atomic_load_n(&slot->state, __ATOMIC_ACQUIRE) != CREW__SLOT_RUNNING || slot->helper)
			continue;
		struct node *node = add(view, crew__slot_pid(slot), born(crew__slot_pid(slot)));
		if (!node)
			return;
		node->id = crew__id(number, slot->generation);
		node->starter = slot->parent;
		node->apart = slot->detached;
	}
}

/* Another process has the pid that `ended` had. As long as the group that it led exists, none can. */
static bool reused(const struct view *view, const struct node *ended)
{
	for (size_t i = 0; i < view->count; i++)
		if (view->nodes[i].pid == ended->pid && view->nodes[i].born != ended->born)
			return true;
	return false;
}

static bool belongs_to(const struct view *view, const struct node *node, const struct node *to)
{
	if (node->in_tree || node->apart || node->pid == getpid())
		return false;
	if (to->id && node->starter == to->id)
		return true;
	if (to->ended)
		return node->group == to->pid && !reused(view, to);
	return node->parent == to->pid || node->group == to->pid;
}

/* Look again; the number of nodes that are new in the tree. */
static unsigned grow(struct view *view)
{
	unsigned before = 0, now = 0;
	for (size_t i = 0; i < view->count; i++)
		before += view->nodes[i].in_tree;
	look_at_processes(view);
	look_at_slots(view);
	for (bool more = true; more;) {
		more = false;
		for (size_t i = 0; i < view->count; i++) {
			for (size_t j = 0; view->nodes[i].in_tree && j < view->count; j++)
				if (belongs_to(view, &view->nodes[j], &view->nodes[i]))
					view->nodes[j].in_tree = more = true;
		}
	}
	for (size_t i = 0; i < view->count; i++)
		now += view->nodes[i].in_tree;
	return now - before;
}

/* A pidfd of it, if it still is that process; and remember if it is not. */
static int open_node(struct node *node)
{
	struct crew__stat now;
	int fd = node->ended ? -1 : crew__pidfd_open(node->pid);
	if (fd >= 0 && crew__has(CREW__FEATURE_PROC) &&
			(!crew__stat(node->pid, &now) || now.zombie || now.born != node->born))
		crew__close(&fd);
	if (fd < 0)
		node->ended = true;
	return fd;
}

static void signal_all(struct view *view, int signal)
{
	for (size_t i = 0; i < view->count; i++) {
		int fd = view->nodes[i].in_tree ? open_node(&view->nodes[i]) : -1;
		if (fd >= 0)
			(void)crew__pidfd_signal(fd, signal);
		crew__close(&fd);
	}
}

static void wait_for_all(struct view *view, crew_time deadline)
{
	for (size_t i = 0; i < view->count; i++) {
		int fd = view->nodes[i].in_tree ? open_node(&view->nodes[i]) : -1;
		struct pollfd end = { .fd = fd, .events = POLLIN };
		if (fd >= 0 && crew__poll(&end, 1, deadline) > 0)
			view->nodes[i].ended = true;
		crew__close(&fd);
	}
}

int crew_process_stop(struct crew_process *process, crew_time grace, struct crew_status *ret)
{
	struct crew_status now;
	struct view view = { 0 };
	crew_process_status(process, &now);
	if (now.state == CREW_RUNNING) {
		struct node *node = add(&view, process->pid, born(process->pid));
		if (node) {
			node->id = process->id;
			node->in_tree = true;
		}
		grow(&view);
		if (grace > 0) {
			signal_all(&view, SIGTERM);
			signal_all(&view, SIGCONT); /* or a stopped one would not notice */
			wait_for_all(&view, crew_after(grace));
		}
		while (signal_all(&view, SIGSTOP), grow(&view) > 0)
			;
		signal_all(&view, SIGKILL);
		(void)crew__pidfd_signal(process->pidfd, SIGKILL); /* also where there was no memory for a view */
		wait_for_all(&view, crew_after(CREW_SECOND)); /* but not for what the kernel does not let go of */
		free(view.nodes);
	} else {
		(void)crew__pidfd_kill_group(process->pidfd);
	}
	return crew_process_join(process, CREW_FOREVER, ret);
}
