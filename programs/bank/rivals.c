/*
 * rivals.c - the bank under one lock as others write it, for --baseline
 *
 * The same orders, by as many processes, for as long: with a process-shared pthread mutex, and with CPython's
 * multiprocessing.Lock and Array. Neither survives a kill; they are here for their speed.
 */
#include "bank.h"
#include "rival.h"
#include "stats.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct counter { _Alignas(64) uint64_t done; };

struct mortal { /* anonymous memory, shared by fork */
	pthread_mutex_t mutex;
	uint32_t stop;
	struct counter *counter;
	int64_t *cents;
};

_Noreturn static void work(struct mortal *mortal, const struct bank *bank, uint32_t clerk, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	uint64_t done = 0;
	for (; !__atomic_load_n(&mortal->stop, __ATOMIC_RELAXED); done++) {
		const struct order *order = &bank->order[(clerk + done * bank->clerks) % ORDERS];
		if (pthread_mutex_lock(&mortal->mutex))
			_exit(1);
		mortal->cents[order->account[0]] -= order->cents;
		mortal->cents[order->account[1]] += order->cents;
		pthread_mutex_unlock(&mortal->mutex);
	}
	mortal->counter[clerk].done = done;
	_exit(0);
}

static bool reap(const pid_t *pid, uint32_t count)
{
	bool good = true;
	for (uint32_t c = 0; c < count; c++) {
		int status;
		while (waitpid(pid[c], &status, 0) < 0 && errno == EINTR)
			;
		good = good && WIFEXITED(status) && WEXITSTATUS(status) == 0;
	}
	return good;
}

double bank_pthread_rival(const struct bank *bank, double seconds, int64_t *missing)
{
	size_t bytes = sizeof(struct mortal) + bank->clerks * sizeof(struct counter) + bank->accounts * sizeof(int64_t);
	struct mortal *mortal = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (mortal == MAP_FAILED)
		cli_lack("mmap: %s", strerror(errno));
	mortal->counter = (struct counter *)(((uintptr_t)(mortal + 1) + 63) & ~(uintptr_t)63);
	mortal->cents = (int64_t *)(mortal->counter + bank->clerks);
	pthread_mutexattr_t attributes;
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&mortal->mutex, &attributes);
	pthread_mutexattr_destroy(&attributes);

	pid_t parent = getpid(), *pid = cli_need(calloc(bank->clerks, sizeof *pid));
	double begin = stats_clock();
	for (uint32_t c = 0; c < bank->clerks; c++) {
		pid[c] = fork();
		if (pid[c] < 0) {
			__atomic_store_n(&mortal->stop, 1, __ATOMIC_RELAXED);
			reap(pid, c);
			cli_lack("fork: %s", strerror(errno));
		}
		if (pid[c] == 0)
			work(mortal, bank, c, parent);
	}
	nanosleep(&(struct timespec){ (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) }, NULL);
	__atomic_store_n(&mortal->stop, 1, __ATOMIC_RELAXED);
	bool good = reap(pid, bank->clerks);
	seconds = stats_clock() - begin;
	uint64_t transfers = 0;
	*missing = good ? 0 : 1;
	for (uint32_t c = 0; c < bank->clerks; c++)
		transfers += mortal->counter[c].done;
	for (uint32_t a = 0; a < bank->accounts; a++)
		*missing -= mortal->cents[a];
	free(pid);
	munmap(mortal, bytes);
	return (double)transfers / seconds;
}

double bank_python_rival(const struct bank *bank, double seconds)
{
	static const char script[] =
		"import sys, time, random, multiprocessing as mp\n"
		"def work(lock, cents, stop, done, i, accounts):\n"
		"    r = random.Random(i)\n"
		"    orders = [(r.randrange(accounts), r.randrange(accounts), r.randrange(100)) for _ in range(4096)]\n"
		"    n = 0\n"
		"    while not stop.value:\n"
		"        a, b, c = orders[n % 4096]\n"
		"        with lock:\n"
		"            cents[a] -= c\n"
		"            cents[b] += c\n"
		"        n += 1\n"
		"    done[i] = n\n"
		"if __name__ == '__main__':\n"
		"    workers, accounts, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])\n"
		"    mp.set_start_method('fork')\n"
		"    lock, cents = mp.Lock(), mp.Array('q', accounts, lock=False)\n"
		"    stop, done = mp.Value('b', 0, lock=False), mp.Array('q', workers, lock=False)\n"
		"    team = [mp.Process(target=work, args=(lock, cents, stop, done, i, accounts)) for i in range(workers)]\n"
		"    begin = time.monotonic()\n"
		"    for p in team: p.start()\n"
		"    time.sleep(seconds)\n"
		"    stop.value = 1\n"
		"    for p in team: p.join()\n"
		"    print(sum(done) / (time.monotonic() - begin))\n";
	char workers[16], accounts[16], time[32];
	snprintf(workers, sizeof workers, "%u", bank->clerks);
	snprintf(accounts, sizeof accounts, "%u", bank->tills);
	snprintf(time, sizeof time, "%g", seconds);
	char *text = rival_run((const char *const[]){ "python3", "-c", script, workers, accounts, time, NULL });
	double rate = text ? strtod(text, NULL) : 0;
	free(text);
	return rate;
}
