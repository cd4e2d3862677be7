/* tree.c - a structure with pointers: built by one, walked by others, and not lost with its builder */
#include "shared_mem.h"
#include "random.h"
#include "stats.h"

#include <inttypes.h>
#include <sched.h>

struct node {
	uint64_t key;
	struct node *left, *right;
};

struct tree {
	struct node *root;
	uint64_t nodes, seed;
	struct node *store; /* of the tree that outlives its builder: all its nodes, used in order, */
	uint64_t linked;    /* so many of them, or one more, are in it */
	struct walk { uint64_t nodes, sum, last; bool sorted; } walk[4096];
	struct span span[4096];
};

/* All different, in random order. */
static uint64_t key_of(const struct tree *tree, uint64_t i)
{
	return rng_mix(tree->seed + i);
}

static void link_node(struct tree *tree, struct node *node)
{
	struct node **place = &tree->root;
	while (*place)
		place = node->key < (*place)->key ? &(*place)->left : &(*place)->right;
	__atomic_store_n(place, node, __ATOMIC_RELEASE);
}

/* One process builds: crew_alloc where malloc would be, and pointers as they come. */
static int build_member(void *memory, unsigned number)
{
	struct tree *tree = memory;
	tree->span[number].begin = stats_clock();
	for (uint64_t i = 0; i < tree->nodes; i++) {
		struct node *node;
		int r = crew_alloc(sizeof *node, (void **)&node);
		if (r < 0)
			return 1;
		*node = (struct node){ .key = key_of(tree, i) };
		link_node(tree, node);
	}
	tree->span[number].end = stats_clock();
	return 0;
}

/* In order: the keys must come sorted. */
static void walk_below(const struct node *node, struct walk *walk)
{
	for (; node; node = node->right) {
		walk_below(node->left, walk);
		walk->sorted = walk->sorted && (walk->nodes == 0 || node->key > walk->last);
		walk->last = node->key;
		walk->sum += node->key;
		walk->nodes++;
	}
}

static int walk_member(void *memory, unsigned number)
{
	struct tree *tree = memory;
	struct walk walk = { .sorted = true };
	tree->span[number].begin = stats_clock();
	walk_below(tree->root, &walk);
	tree->span[number].end = stats_clock();
	tree->walk[number] = walk;
	return 0;
}

static void fell(struct node *node)
{
	while (node) {
		struct node *right = node->right;
		fell(node->left);
		crew_free(node);
		node = right;
	}
}

/*
 * Builds on, from where the last builder has died. A node is in the tree by one store, so whenever that was, the tree is whole.
 * The first of those that are not counted may be in it: then the dead had come to link it, and no further.
 */
static int mortal_builder(void *memory, unsigned number)
{
	struct tree *tree = memory;
	(void)number;
	struct walk walk = { .sorted = true };
	walk_below(tree->root, &walk);
	for (uint64_t i = walk.nodes; i < tree->nodes; i++) {
		tree->store[i] = (struct node){ .key = key_of(tree, i) };
		link_node(tree, &tree->store[i]);
		__atomic_store_n(&tree->linked, i + 1, __ATOMIC_RELEASE);
	}
	return 0;
}

/* Its builder is killed half-way; the others walk what there is; the next one goes on with it. */
static void show_orphan(struct tree *tree, uint64_t nodes)
{
	tree->root = NULL;
	tree->store = shared(nodes, sizeof *tree->store);
	struct team *builder = team_start(1, "builder", mortal_builder, tree);
	for (crew_time end = crew_after(PATIENCE); __atomic_load_n(&tree->linked, __ATOMIC_ACQUIRE) < nodes / 2 && crew_now() < end;)
		sched_yield();
	team_kill(builder, 0);
	team_join(builder, crew_after(PATIENCE));
	uint64_t linked = tree->linked;
	join(team_start(cli.workers, "walker", walk_member, tree), "tree");
	uint64_t found = tree->walk[0].nodes;
	struct json_t *orphan = row("tree, its builder killed", found * sizeof(struct node) * cli.workers, span_of_all(tree->span, cli.workers));
	report_uint(orphan, "deaths", 1);
	for (unsigned i = 0; i < cli.workers; i++) {
		const struct walk *w = &tree->walk[i];
		report_check(report, w->nodes >= linked && w->nodes <= linked + 1 && w->nodes == found && w->sorted,
			"tree without its builder: process %u saw %" PRIu64 " nodes, of which %" PRIu64 " were counted, %s", i, w->nodes,
			linked, w->sorted ? "sorted" : "not sorted");
	}
	join(team_start(1, "builder", mortal_builder, tree), "tree");
	struct walk whole = { .sorted = true };
	walk_below(tree->root, &whole);
	report_check(report, whole.nodes == nodes && whole.sorted, "tree, built on by the next: %" PRIu64 " of %" PRIu64 " nodes",
		whole.nodes, nodes);
	crew_free(tree->store);
}

void show_tree(uint64_t nodes)
{
	struct tree *tree = shared(1, sizeof *tree);
	uint64_t bytes = nodes * sizeof(struct node), sum = 0;
	tree->nodes = nodes;
	tree->seed = cli.seed;
	for (uint64_t i = 0; i < nodes; i++)
		sum += key_of(tree, i);
	report_say(report, "A search tree of %" PRIu64 " nodes: built by one process, walked by %u others\n", nodes, cli.workers);
	join(team_start(1, "builder", build_member, tree), "tree");
	row("tree, built by one", bytes, span_of_all(tree->span, 1));
	join(team_start(cli.workers, "walker", walk_member, tree), "tree");
	row("tree, walked by the others", bytes * cli.workers, span_of_all(tree->span, cli.workers));
	for (unsigned i = 0; i < cli.workers; i++) {
		const struct walk *w = &tree->walk[i];
		report_check(report, w->nodes == nodes && w->sum == sum && w->sorted,
			"tree: process %u saw %" PRIu64 " of %" PRIu64 " nodes, %s", i, w->nodes, nodes,
			w->sorted ? "sorted" : "not sorted");
	}
	fell(tree->root);
	show_orphan(tree, nodes);
	crew_free(tree);
	report_table(report);
	report_say(report, "\n");
}
