"""THE RULES OF THE LANE: which kernel calls may the program of a Node-style action make?

A whole interpreter with threads, subprocesses, files and other people's native code needs most of what Linux has. What
is missing here is what reaches beyond the lane: other processes, the machine, the network, the kernel's odd corners.
Knows nothing of how a filter is built.

Rules
1. A call is allowed, trapped, pretended, or refused. One that is missing on every list is refused with EPERM if Linux
   had it when this page was written, and does not exist (ENOSYS) if not.
2. `ALLOWED` lists alternatives; one of them must have all its conditions met, or the answer is EPERM.
3. `connect` is trapped: the host reads where to, judges, and connects itself. No other call leads anywhere: sockets
   are TCP or a pair, nothing is bound, nothing sent to an address.
4. Landlock does not know owner, mode, times and attributes. Calls that change them by a path would reach every file of
   the same user, so they are `PRETENDED`: they succeed and change nothing.
5. `ABSENT` do not exist here: C libraries then fall back to something older that can be judged.
6. No call names a process by number but the caller itself, unless the kernel keeps signals inside the lane.
7. New processes and threads are counted by the kernel where the lane has a uid of its own, and elsewhere paced: the
   call is trapped, and goes on when it is its turn. All that decides is in registers: nothing changes meanwhile.
8. No session and no process group of its own: the group is what is killed.
"""

from runtime.sandbox.kernel.rules import Condition, Width

Alternatives = tuple[tuple[Condition, ...], ...]

_ALWAYS: Alternatives = ((),)
_ITSELF = Condition(0, (0,))


def _without(argument: int, bits: int, width: int = Width.INT) -> Condition:
    """None of these bits is set in the argument."""
    return Condition(argument, (0,), width, ignore=~bits & 0xFFFFFFFF)


# New namespaces (mount, cgroup, uts, ipc, user, pid, net), and CLONE_PARENT: a sibling would not be ours to bury.
_OF_OUR_OWN = _without(0, 0x7E02_8000, Width.LONG)
# MSG_FASTOPEN connects. A socket without a connection has nobody to send to: no address may be named.
_NOT_FASTOPEN = 0x2000_0000
_STREAM = Condition(1, (1,), ignore=0x80800)  # SOCK_STREAM; SOCK_CLOEXEC and SOCK_NONBLOCK do not matter

# Level and name of what may be set on a socket. Nothing that chooses a route, a device, a program or another protocol.
_SOCKET_OPTIONS = Condition(2, (2, 7, 8, 9, 10, 13, 15, 18, 19, 20, 21, 29, 35, 37, 46, 47, 49, 63, 64, 65, 66, 67))
_TCP_OPTIONS = Condition(2, (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 15, 16, 17, 18, 24, 25, 32, 36, 37))

# TCGETS, TIOCGPGRP, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX.
_IOCTL = Condition(1, (0x5401, 0x540F, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451))
# Duplicates, flags, locks, the size of a pipe. Not who gets which signal (F_SETOWN, F_SETSIG), no leases.
_FCNTL = Condition(1, (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032, 1034))
# PR_GET_DUMPABLE, PR_SET_NAME, PR_GET_NAME, PR_GET_SECCOMP, PR_CAPBSET_READ, PR_SET_TIMERSLACK, PR_GET_TIMERSLACK,
# PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS, PR_SET_THP_DISABLE, PR_GET_THP_DISABLE, PR_SET_VMA.
_PRCTL = Condition(0, (3, 15, 16, 21, 23, 29, 30, 38, 39, 41, 42, 0x53564D41))

_PLAIN = """
read write close close_range lseek pread64 pwrite64 readv writev preadv pwritev preadv2 pwritev2 sendfile splice tee
copy_file_range readahead fadvise64 fallocate ftruncate sync_file_range fsync fdatasync flock
dup dup2 dup3 pipe pipe2 open openat openat2 creat stat fstat lstat newfstatat statx statfs fstatfs
access faccessat faccessat2 readlink readlinkat getdents getdents64 getcwd chdir fchdir umask
mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 link linkat symlink symlinkat
getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr
poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2
eventfd eventfd2 signalfd signalfd4 timerfd_create timerfd_settime timerfd_gettime
recvfrom recvmsg recvmmsg shutdown getsockname getpeername getsockopt
mmap munmap mremap mprotect brk madvise msync mincore mlock mlock2 munlock mbind set_mempolicy get_mempolicy mseal
set_mempolicy_home_node membarrier cachestat
futex futex_waitv futex_wake futex_wait futex_requeue set_robust_list set_tid_address rseq
fork vfork execve exit exit_group wait4 waitid pidfd_open
rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait sigaltstack pause
alarm getitimer setitimer timer_create timer_settime timer_gettime timer_getoverrun timer_delete restart_syscall
nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time times getrusage getcpu
getpid gettid getppid getpgid getpgrp getsid getuid geteuid getgid getegid getresuid getresgid getgroups capget
uname sysinfo getrandom getrlimit setrlimit getpriority ioprio_get
sched_yield sched_getaffinity sched_getparam sched_getscheduler sched_getattr sched_get_priority_max
sched_get_priority_min sched_rr_get_interval
"""

ALLOWED: dict[str, Alternatives] = dict.fromkeys(_PLAIN.split(), _ALWAYS) | {
    "clone": ((_OF_OUR_OWN,),),
    "ioctl": ((_IOCTL,),),
    "fcntl": ((_FCNTL,),),
    "prctl": ((_PRCTL,),),
    "arch_prctl": ((Condition(0, (0x1001, 0x1002, 0x1003, 0x1004)),),),
    "socket": ((Condition(0, (2, 10)), _STREAM, Condition(2, (0, 6))),),
    # No datagrams: a message on them can name a socket by its path, in memory that a filter does not see.
    "socketpair": ((Condition(0, (1,)), Condition(1, (1, 5), ignore=0x80800)),),
    "sendto": ((_without(3, _NOT_FASTOPEN), Condition(4, (0,), Width.LONG)),),
    "sendmsg": ((_without(2, _NOT_FASTOPEN),),),
    "sendmmsg": ((_without(3, _NOT_FASTOPEN),),),
    "setsockopt": (
        (Condition(1, (1,)), _SOCKET_OPTIONS),
        (Condition(1, (6,)), _TCP_OPTIONS),
        (Condition(1, (0,)), Condition(2, (1,))),  # IP_TOS
        (Condition(1, (41,)), Condition(2, (26, 67))),  # IPV6_V6ONLY, IPV6_TCLASS
    ),
    "prlimit64": ((_ITSELF,),),
    "setpriority": ((_ITSELF, Condition(1, (0,))),),
    "sched_setaffinity": ((_ITSELF,),),
    "sched_setscheduler": ((_ITSELF,),),
    "sched_setparam": ((_ITSELF,),),
}

# With signals kept inside the lane by the kernel; without that, only to itself and its own group.
SIGNALS = ("kill", "tkill", "tgkill")

TRAPPED = ("connect",)
PACED = ("fork", "vfork", "clone")

PRETENDED = frozenset(
    """
    chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes utimensat futimesat sync syncfs
    """.split()  # noqa: SIM905 - as in `kernel.rules`
)

ABSENT = frozenset(
    """
    clone3 io_uring_setup io_uring_enter io_uring_register io_setup io_destroy io_getevents io_submit io_cancel
    io_pgetevents memfd_create memfd_secret userfaultfd pkey_alloc pkey_free pkey_mprotect inotify_init inotify_init1
    setxattrat getxattrat listxattrat removexattrat file_getattr file_setattr
    """.split()  # noqa: SIM905 - as in `kernel.rules`
)
