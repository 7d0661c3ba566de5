"""Attacks on processes, signals, limits and the kernel itself."""

import ctypes
import faulthandler
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time

from tests.escapes.kernel.registry import LIBC, Control, End, Target, attack, call


@attack()
def fork(target: Target) -> object:
    return os.fork() or os._exit(0)


@attack(End.KILLED, control=Control.HARMFUL)
def vfork(target: Target) -> object:
    return LIBC.vfork()


@attack()
def clone_a_process(target: Target) -> object:
    return call("clone", signal.SIGCHLD, 0, 0, 0, 0) or os._exit(0)


@attack(control=Control.HARMFUL)
def clone_into_a_user_namespace(target: Target) -> object:
    return call("clone", signal.SIGCHLD | 0x10000000, 0, 0, 0, 0) or os._exit(0)


@attack(End.ENOSYS)
def clone3_a_process(target: Target) -> object:
    words = (ctypes.c_uint64 * 11)(0, 0, 0, 0, signal.SIGCHLD)
    return call("clone3", ctypes.addressof(words), 88) or os._exit(0)


@attack(End.NO_THREAD)
def start_a_thread(target: Target) -> None:
    thread = threading.Thread(target=int)
    thread.start()


@attack(End.KILLED, control=Control.HARMFUL)
def become_a_shell(target: Target) -> object:
    return os.execv("/bin/sh", ["sh", "-c", "exit 0"])


@attack(End.KILLED, control=Control.HARMFUL)
def become_a_file_without_a_name(target: Target) -> object:
    return call("execveat", 3, b"", 0, 0, 0x1000)


@attack()
def run_a_command(target: Target) -> object:
    # Without close_fds, or Python would use vfork and die of it.
    return subprocess.run([sys.executable, "-c", ""], check=True)


@attack(control=Control.HARMFUL)
def wait_for_children(target: Target) -> object:
    return os.waitpid(-1, os.WNOHANG)


@attack(End.KILLED, control=Control.HARMFUL)
def kill_the_host(target: Target) -> None:
    os.kill(target.host, signal.SIGKILL)


@attack(End.KILLED, control=Control.HARMFUL)
def kill_another_tenant(target: Target) -> None:
    os.kill(target.peer, signal.SIGKILL)


@attack(End.KILLED, control=Control.HARMFUL)
def kill_everybody(target: Target) -> None:
    os.kill(-1, signal.SIGKILL)


@attack(End.KILLED, control=Control.HARMFUL)
def kill_the_process_group(target: Target) -> None:
    os.killpg(0, signal.SIGKILL)


@attack(control=Control.HARMFUL)
def kill_the_hosts_thread(target: Target) -> object:
    return call("tgkill", target.host, target.host, signal.SIGKILL)


@attack(End.KILLED, control=Control.HARMFUL)
def queue_a_signal_for_the_host(target: Target) -> object:
    return call("rt_sigqueueinfo", target.host, signal.SIGKILL, 0)


@attack(End.KILLED)
def hold_another_tenant_by_a_pidfd(target: Target) -> object:
    return os.pidfd_open(target.peer)


@attack(End.KILLED, control=Control.HARMFUL)
def take_the_hosts_descriptor(target: Target) -> object:
    return call("pidfd_getfd", 3, 0, 0)


@attack(End.KILLED, control=Control.HARMFUL)
def trace_the_host(target: Target) -> object:
    return call("ptrace", 16, target.host, 0, 0)


@attack(End.KILLED, control=Control.HARMFUL)
def read_the_memory_of_another_tenant(target: Target) -> object:
    return call("process_vm_readv", target.peer, 0, 0, 0, 0, 0)


@attack(End.KILLED, control=Control.HARMFUL)
def write_the_memory_of_the_host(target: Target) -> object:
    return call("process_vm_writev", target.host, 0, 0, 0, 0, 0)


@attack()
def change_the_hosts_limits(target: Target) -> object:
    return resource.prlimit(target.host, resource.RLIMIT_NOFILE)


@attack()
def raise_its_own_limits(target: Target) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@attack()
def get_more_of_the_processor(target: Target) -> None:
    os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0))


@attack()
def choose_a_processor(target: Target) -> None:
    os.sched_setaffinity(0, os.sched_getaffinity(0))


@attack(End.KILLED)
def allow_itself_to_be_dumped(target: Target) -> object:
    return call("prctl", 4, 1, 0, 0, 0)


@attack(End.KILLED, control=Control.HARMFUL)
def outlive_the_host(target: Target) -> object:
    return call("prctl", 1, 0, 0, 0, 0)


@attack(End.KILLED, control=Control.HARMFUL)
def put_on_another_filter(target: Target) -> object:
    return call("seccomp", 1, 0, 0)


@attack(End.KILLED, control=Control.HARMFUL)
def become_root(target: Target) -> None:
    os.setuid(0)


@attack(End.KILLED, control=Control.HARMFUL)
def leave_the_namespaces(target: Target) -> object:
    return call("unshare", 0)


@attack(End.KILLED, control=Control.HARMFUL)
def enter_the_hosts_namespaces(target: Target) -> object:
    return call("setns", 3, 0)


@attack(End.KILLED, control=Control.HARMFUL)
def mount_a_filesystem(target: Target) -> object:
    return call("mount", b"none", b"/", b"tmpfs", 0, 0)


@attack(End.KILLED)
def change_the_personality(target: Target) -> object:
    return call("personality", 0xFFFFFFFF)


@attack(End.KILLED, control=Control.HARMFUL)
def load_a_program_into_the_kernel(target: Target) -> object:
    return call("bpf", 0, 0, 0)


@attack(End.KILLED, control=Control.HARMFUL)
def measure_the_kernel(target: Target) -> object:
    return call("perf_event_open", 0, 0, -1 & 0xFFFFFFFF, -1 & 0xFFFFFFFF, 0)


@attack(End.KILLED, control=Control.HARMFUL)
def ask_for_a_ring(target: Target) -> object:
    parameters = ctypes.create_string_buffer(120)
    return call("io_uring_setup", 1, ctypes.addressof(parameters))


@attack(End.KILLED, control=Control.HARMFUL)
def handle_faults_itself(target: Target) -> object:
    return call("userfaultfd", 0)


@attack(End.KILLED, control=Control.HARMFUL)
def look_into_the_key_ring(target: Target) -> object:
    return call("keyctl", 0, -3 & 0xFFFFFFFFFFFFFFFF, 1)


@attack(End.KILLED, control=Control.HARMFUL)
def set_the_clock(target: Target) -> None:
    time.clock_settime(time.CLOCK_REALTIME, 0)


@attack()
def read_the_hosts_cpu_clock(target: Target) -> object:
    return time.clock_gettime((~target.host << 3) | 2)


@attack()
def ask_the_name_of_the_machine(target: Target) -> object:
    return os.uname()


@attack()
def ask_the_load(target: Target) -> object:
    return call("sysinfo", ctypes.addressof(ctypes.create_string_buffer(200)))


@attack()
def ask_who_the_parent_is(target: Target) -> object:
    return call("getppid")


@attack()
def ask_who_it_is(target: Target) -> object:
    return call("getuid") + 1


@attack()
def hear_the_hosts_signal_itself(target: Target) -> object:
    return signal.signal(signal.SIGUSR1, signal.SIG_IGN)


@attack()
def a_timer_of_its_own(target: Target) -> object:
    return signal.setitimer(signal.ITIMER_REAL, 100)


@attack()
def a_posix_timer(target: Target) -> object:
    timer = ctypes.c_int()
    return call("timer_create", 1, 0, ctypes.addressof(timer))


@attack()
def a_stack_for_signals(target: Target) -> object:
    stack = (ctypes.c_uint64 * 3)()
    return call("sigaltstack", 0, ctypes.addressof(stack))


@attack(End.CRASHED, control=Control.HARMFUL)
def crash(target: Target) -> object:
    return ctypes.string_at(1)


@attack(End.CRASHED, control=Control.HARMFUL)
def abort(target: Target) -> object:
    faulthandler.disable()
    return os.abort()


@attack(End.ENDLESS, control=Control.HARMFUL)
def burn_without_end(target: Target) -> object:
    while True:
        sum(range(10_000))


@attack(End.SAYS, control=Control.HARMFUL)
def say_a_random_number(target: Target) -> object:
    raise type(f"drew{random.getrandbits(64)}", (Exception,), {})
