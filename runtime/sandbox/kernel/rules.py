"""THE KERNEL'S RULES: which kernel calls may an isolate make?

An isolate computes, allocates memory, tells the time, and talks on one channel. Everything else is refused, in one of
three ways, and the way is chosen for the *honest* program: hostile ones are stopped by all three. Knows nothing of how
a filter is built.

Rules
1. `ALLOWED` is all there is. A call with conditions that are not met is refused with EPERM.
2. `REFUSED` is what honest code runs into by accident: EPERM, which Python shows as PermissionError.
3. `HOSTILE` is what only an attacker calls: the process is killed (SIGSYS), and the host takes it as an attack.
4. Everything else, known or not yet invented, is ENOSYS: C libraries then fall back to an older way, and meet 2.
5. The other calling conventions of a processor (32-bit, x32) are killed: their numbers mean other calls.
6. A call is added to `ALLOWED` together with an escape test that failed without its condition.
"""

from dataclasses import dataclass

CHANNEL = 3
STDERR = 2

_READ_WRITE = (0, 1, 3)  # PROT_NONE, PROT_READ, PROT_READ|PROT_WRITE. Never PROT_EXEC.
_PRIVATE_MEMORY = (0x22, 0x4022)  # MAP_PRIVATE|MAP_ANONYMOUS, and with MAP_NORESERVE. No file, not shared, not fixed.


class Width:
    """How many bits of an argument the kernel looks at; the others may hold rubbish."""

    INT = 32
    LONG = 64


@dataclass(frozen=True, slots=True)
class Condition:
    """An argument (counted from 0) must be one of ``values`` once the bits in ``ignore`` are cleared."""

    argument: int
    values: tuple[int, ...]
    width: int = Width.INT
    ignore: int = 0


# FUTEX_PRIVATE_FLAG and FUTEX_CLOCK_REALTIME do not matter. No PI and no requeue: those had most of the futex's bugs.
_FUTEX = Condition(1, (0, 1, 9, 10), ignore=128 | 256)
# The kernel's own clocks are 0 to 15. Negative ids would name other processes' CPU clocks, and open devices.
_CLOCK = Condition(0, (0,), ignore=15)

ALLOWED: dict[str, tuple[Condition, ...]] = {
    "read": (Condition(0, (CHANNEL,)),),
    "write": (Condition(0, (CHANNEL, STDERR)),),
    "poll": (),
    "mmap": (Condition(2, _READ_WRITE, Width.LONG), Condition(3, _PRIVATE_MEMORY, Width.LONG)),
    "mprotect": (Condition(2, _READ_WRITE, Width.LONG),),
    "mremap": (Condition(3, (1,), Width.LONG),),  # MREMAP_MAYMOVE and nothing else: no fixed address
    "madvise": (Condition(2, (4, 8, 14)),),  # DONTNEED, FREE, HUGEPAGE
    "munmap": (),
    "brk": (),
    "futex": (_FUTEX,),
    "getrandom": (),
    "clock_gettime": (_CLOCK,),
    "clock_getres": (_CLOCK,),
    "clock_nanosleep": (_CLOCK,),
    "gettimeofday": (),
    "time": (),
    "nanosleep": (),
    "rt_sigreturn": (),
    "rt_sigprocmask": (),
    "restart_syscall": (),
    "sched_yield": (),
    "getpid": (),
    "gettid": (),
    "exit": (),
    "exit_group": (),
}

# aarch64 never had poll(2): its C library makes ppoll(2) of it.
ALLOWED_WITHOUT_POLL: dict[str, tuple[Condition, ...]] = {"ppoll": ()}

# clone3 is missing on purpose (rule 4): with ENOSYS the C library tries clone, and a thread fails with Python's own
# "can't start new thread". tgkill is here and not below because abort() makes it: an interpreter that gives up
# should die of a crash (it goes on to SIGSEGV) and not look like an attack.
REFUSED = frozenset(
    """
    open openat openat2 creat close close_range stat fstat lstat newfstatat statx statfs fstatfs access faccessat
    faccessat2 readlink readlinkat getdents getdents64 getcwd chdir fchdir mkdir mkdirat rmdir unlink unlinkat rename
    renameat renameat2 link linkat symlink symlinkat mknod mknodat chmod fchmod fchmodat fchmodat2 chown fchown lchown
    fchownat utime utimes utimensat futimesat truncate ftruncate fallocate umask lseek pread64 pwrite64 readv writev
    preadv pwritev preadv2 pwritev2 sendfile splice tee vmsplice copy_file_range readahead fadvise64 sync syncfs fsync
    fdatasync sync_file_range flock fcntl ioctl dup dup2 dup3 pipe pipe2 memfd_create getxattr lgetxattr fgetxattr
    setxattr lsetxattr fsetxattr listxattr llistxattr flistxattr removexattr lremovexattr fremovexattr
    inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_init fanotify_mark
    socket socketpair connect bind listen accept accept4 sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg shutdown
    getsockname getpeername setsockopt getsockopt
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 select
    pselect6 ppoll eventfd eventfd2 signalfd signalfd4 timerfd_create timerfd_settime timerfd_gettime
    clone wait4 waitid getppid getpgid getpgrp getsid setpgid setsid getuid geteuid getgid getegid getresuid getresgid
    getgroups capget uname sysinfo getrlimit setrlimit prlimit64 getrusage times getcpu getpriority setpriority
    ioprio_get ioprio_set sched_getaffinity sched_setaffinity sched_getparam sched_setparam sched_getscheduler
    sched_setscheduler sched_getattr sched_setattr sched_get_priority_max sched_get_priority_min sched_rr_get_interval
    rt_sigaction rt_sigpending rt_sigsuspend rt_sigtimedwait sigaltstack pause alarm getitimer setitimer timer_create
    timer_settime timer_gettime timer_getoverrun timer_delete tgkill msync mincore mlock mlock2 mlockall munlock
    munlockall shmget shmat shmctl shmdt semget semop semctl semtimedop msgget msgsnd msgrcv msgctl mq_open mq_unlink
    mq_timedsend mq_timedreceive mq_notify mq_getsetattr
    """.split()  # noqa: SIM905 - a page of words is read more easily than a page of quotes
)

HOSTILE = frozenset(
    """
    ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp bpf userfaultfd io_uring_setup
    io_uring_enter io_uring_register io_setup io_submit keyctl add_key request_key
    mount umount2 pivot_root chroot mount_setattr open_tree open_tree_attr move_mount fsopen fsconfig fsmount fspick
    statmount listmount unshare setns perf_event_open open_by_handle_at name_to_handle_at
    pidfd_open pidfd_getfd pidfd_send_signal init_module finit_module delete_module create_module kexec_load
    kexec_file_load execve execveat fork vfork prctl arch_prctl seccomp
    setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups capset
    kill tkill rt_sigqueueinfo rt_tgsigqueueinfo reboot swapon swapoff sethostname setdomainname settimeofday
    clock_settime adjtimex clock_adjtime iopl ioperm modify_ldt personality acct quotactl quotactl_fd syslog vhangup
    uselib lookup_dcookie nfsservctl _sysctl landlock_create_ruleset landlock_add_rule landlock_restrict_self
    remap_file_pages memfd_secret move_pages migrate_pages pkey_mprotect pkey_alloc pkey_free map_shadow_stack
    lsm_set_self_attr
    """.split()  # noqa: SIM905 - a page of words is read more easily than a page of quotes
)
