"""What does hostile code try from inside a lane, and with which word must it fail?

Each is the body of a function in Python. ``W`` is the world (`lab.World.told`). Whether the same program gets out
without a wall is said beside it: those that are ``controlled`` are run that way, too.
"""

from dataclasses import dataclass

REFUSED = frozenset({"EPERM", "EACCES", "ENOSYS"})


@dataclass(frozen=True)
class Attack:
    """A way out, and whether it may be tried without a wall."""

    body: str
    controlled: bool = True
    words: frozenset[str] = REFUSED
    only_root: bool = False  # nobody else could do it, wall or no wall


ATTACKS = {
    # --- files
    "read_the_shadow_file": Attack("open('/etc/shadow').read()", only_root=True),
    "read_the_password_file": Attack("open('/etc/passwd').read()"),
    "list_the_root": Attack("os.listdir('/')"),
    "read_the_hosts_data": Attack("open(W['data'] + '/kept').read()"),
    "list_the_hosts_data": Attack("os.listdir(W['data'])"),
    "read_a_neighbours_scratch": Attack("open(W['neighbours_scratch'] + '/kept').read()"),
    "write_a_neighbours_scratch": Attack("open(W['neighbours_scratch'] + '/new', 'w')", controlled=False),
    "write_its_packages": Attack("open(W['packages'] + '/new', 'w')", controlled=False),
    "change_its_packages": Attack("open(W['packages'] + '/kept', 'a')", controlled=False),
    "link_its_packages_into_its_scratch_and_change_them": Attack(
        """
os.link(W['packages'] + '/kept', 'mine')
open('mine', 'a').write('!')
""",
        controlled=False,
        words=REFUSED | {"EXDEV"},
    ),
    "move_its_packages": Attack(
        "os.rename(W['packages'] + '/kept', 'mine')", controlled=False, words=REFUSED | {"EXDEV"}
    ),
    "reach_them_by_a_link": Attack("os.symlink(W['data'] + '/kept', 'link'); open('link').read()", controlled=False),
    "truncate_the_hosts_data": Attack("os.truncate(W['data'] + '/kept', 0)", controlled=False),
    "remove_the_hosts_data": Attack("os.unlink(W['data'] + '/kept')", controlled=False),
    "set_an_attribute_of_the_hosts_data": Attack("os.setxattr(W['data'] + '/kept', 'user.x', b'y')", controlled=False),
    "make_a_device": Attack("os.mknod('disk', 0o60600, os.makedev(8, 0))", controlled=False),
    "run_what_it_has_written": Attack(
        """
with open('own', 'wb') as file:
    file.write(open(os.path.realpath('/bin/true'), 'rb').read())
os.chmod('own', 0o700)
subprocess.run(['./own'], check=True)
"""
    ),
    "read_the_hosts_environment": Attack("open(f'/proc/{W[\"host\"]}/environ').read()"),
    "read_the_hosts_memory": Attack("open(f'/proc/{W[\"host\"]}/mem').read(1)", controlled=False),
    "see_what_the_host_has_open": Attack("os.listdir(f'/proc/{W[\"host\"]}/fd')"),
    "follow_the_hosts_links": Attack("os.readlink(f'/proc/{W[\"host\"]}/cwd')"),
    "list_processes": Attack("os.listdir('/proc')"),
    "read_its_own_maps": Attack("open('/proc/self/maps').read()"),
    "watch_the_hosts_files": Attack("call(254, call(253), 0, 1)", controlled=False),
    # --- processes
    "kill_the_host": Attack("os.kill(W['host'], 0)"),
    "kill_its_keeper": Attack("os.kill(os.getppid(), signal.SIGKILL)", controlled=False),
    "kill_a_neighbour": Attack("os.kill(W['neighbour'], signal.SIGKILL)", controlled=False),
    "kill_a_neighbour_by_its_pidfd": Attack(
        "signal.pidfd_send_signal(os.pidfd_open(W['neighbour']), signal.SIGKILL)", controlled=False
    ),
    "queue_a_signal_for_the_host": Attack("call(129, W['host'], 0, 0)", controlled=False),
    "have_a_signal_sent_by_a_descriptor": Attack(
        """
import fcntl
one, other = socket.socketpair()
fcntl.fcntl(one, fcntl.F_SETOWN, W['host'])
"""
    ),
    "trace_a_neighbour": Attack("call(101, 16, W['neighbour'], 0, 0)", controlled=False),
    "read_a_neighbours_memory": Attack("call(310, W['neighbour'], 0, 0, 0, 0, 0)"),
    "write_a_neighbours_memory": Attack("call(311, W['neighbour'], 0, 0, 0, 0, 0)"),
    "take_the_hosts_descriptor": Attack("call(438, os.pidfd_open(W['host']), 2, 0)"),
    "limit_the_host": Attack("import resource; resource.prlimit(W['host'], resource.RLIMIT_CPU, (1, 1))", False),
    "slow_the_host_down": Attack("os.setpriority(os.PRIO_PROCESS, W['host'], 19)", controlled=False),
    "slow_everybody_down": Attack("os.setpriority(os.PRIO_USER, 0, 19)", controlled=False),
    "be_first": Attack("os.setpriority(os.PRIO_PROCESS, 0, -5)", controlled=False),
    "begin_a_session": Attack("os.setsid()", controlled=False),
    "begin_a_process_group": Attack("os.setpgid(0, 0)"),
    "become_root": Attack("os.setresuid(0, 0, 0)", controlled=False),
    "outlive_its_keeper": Attack("call(157, 1, 0, 0, 0, 0)"),
    "hide_from_the_host": Attack("call(157, 4, 0, 0, 0, 0)"),
    # --- the kernel
    "enter_a_user_namespace": Attack("call(272, 0x10000000)", controlled=False),
    "clone_into_a_namespace": Attack("os.waitpid(call(56, 0x10000011, 0, 0, 0, 0) or os._exit(0), 0)", False),
    "clone_with_a_structure": Attack("call(435, 0, 0)", controlled=False, words=frozenset({"ENOSYS"})),
    "enter_the_hosts_namespaces": Attack("call(308, 3, 0)", controlled=False),
    "mount": Attack("call(165, 0, 0, 0, 0, 0)", controlled=False),
    "load_a_program_into_the_kernel": Attack("call(321, 0, 0, 0)", controlled=False),
    "ask_for_a_ring": Attack("call(425, 1, 0)", controlled=False, words=frozenset({"ENOSYS"})),
    "handle_faults_itself": Attack("call(323, 0)", controlled=False),
    "measure_the_kernel": Attack("call(298, 0, 0, -1, -1, 0)", controlled=False),
    "look_into_the_key_ring": Attack("call(250, 0, -3, 1)", controlled=False),
    "share_memory_by_a_key": Attack("call(29, 77, 4096, 0o1600)", controlled=False),
    "leave_a_message_queue": Attack("call(68, 77, 0o1600)", controlled=False),
    "put_on_another_filter": Attack("call(317, 1, 0, 0)", controlled=False),
    "change_the_personality": Attack("call(135, 0xffffffff)"),
    "hide_memory_in_a_file": Attack("os.memfd_create('hidden')", words=frozenset({"ENOSYS"})),
    # --- the network
    "connect_to_the_loopback": Attack("socket.create_connection(('127.0.0.1', W['tcp']))", controlled=False),
    "connect_to_the_loopback_over_ipv6": Attack("socket.create_connection(('::1', W['tcp6']))", controlled=False),
    "connect_to_an_address_in_ipv6_clothes": Attack(
        "socket.create_connection(('::ffff:127.0.0.1', W['tcp']))", controlled=False
    ),
    "connect_to_any_address": Attack("socket.create_connection(('0.0.0.0', W['tcp']))", controlled=False),
    "connect_to_the_metadata_address": Attack("socket.create_connection(('169.254.169.254', 80), 1)", controlled=False),
    "connect_to_a_private_address": Attack("socket.create_connection(('10.0.0.1', 6379), 1)", controlled=False),
    "connect_to_a_link_local_address": Attack(
        "socket.socket(socket.AF_INET6).connect(('fe80::1', 80, 0, 1))", controlled=False
    ),
    "connect_to_a_unix_socket": Attack("socket.socket(socket.AF_UNIX).connect(W['path'])", controlled=False),
    "connect_to_an_abstract_socket": Attack(
        "socket.socket(socket.AF_UNIX).connect('\\0' + W['abstract'])", controlled=False
    ),
    "connect_a_pair_to_a_unix_socket": Attack(
        "socket.socketpair()[0].connect(W['path'])", controlled=False, words=REFUSED | {"EISCONN", "EAFNOSUPPORT"}
    ),
    "send_a_pairs_message_to_a_unix_socket": Attack(
        "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendmsg([b'x'], [], 0, W['datagrams'])", False
    ),
    "say_it_by_udp": Attack(
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', W['udp']))", controlled=False
    ),
    "connect_while_sending": Attack(
        "socket.socket().sendto(b'x', 0x20000000, ('127.0.0.1', W['tcp']))", controlled=False
    ),
    "connect_while_sending_a_message": Attack(
        "socket.socket().sendmsg([b'x'], [], 0x20000000, ('127.0.0.1', W['tcp']))", controlled=False
    ),
    "open_a_raw_socket": Attack("socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)", controlled=False),
    "open_a_packet_socket": Attack("socket.socket(socket.AF_PACKET, socket.SOCK_RAW)", controlled=False),
    "open_a_netlink_socket": Attack("socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)"),
    "open_a_socket_for_ciphers": Attack("socket.socket(38, socket.SOCK_SEQPACKET)", controlled=False),
    "open_a_socket_to_the_hypervisor": Attack("socket.socket(40, socket.SOCK_STREAM)", controlled=False),
    "open_a_socket_of_many_paths": Attack("socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)", controlled=False),
    "listen": Attack("socket.socket().listen()"),
    "bind": Attack("socket.socket().bind(('127.0.0.1', 0))"),
    "choose_a_route": Attack(
        "socket.socket().setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, b'\\x83\\x07\\x04\\x7f\\0\\0\\x01\\0')",
        only_root=True,
    ),
    "choose_a_device": Attack("socket.socket().setsockopt(socket.SOL_SOCKET, 25, b'lo')"),
}

# With a judge that lets through what goes to one port: what is tried, and with which word it fails.
WITH_A_DOOR = {
    "connect_to_another_port": ("socket.create_connection(('127.0.0.1', W['tcp']))", "EACCES"),
    "connect_to_the_name_server_by_another_address": (
        "socket.create_connection(('8.8.8.8', 53))",
        "EACCES",
    ),
    "connect_again_elsewhere": (
        """
s = socket.create_connection(('127.0.0.1', W['door']))
s.recv(1)
s.connect(('127.0.0.1', W['tcp']))
""",
        "EISCONN",
    ),
    "disconnect": (
        """
s = socket.create_connection(('127.0.0.1', W['door']))
nowhere = ctypes.create_string_buffer(16)
call(42, s.fileno(), ctypes.addressof(nowhere), 16)
""",
        "EAFNOSUPPORT",
    ),
    "connect_with_an_address_that_is_not_there": ("call(42, socket.socket().fileno(), 8, 16)", "EFAULT"),
    "connect_with_an_address_in_the_kernel": ("call(42, socket.socket().fileno(), -4096, 16)", "EFAULT"),
    "connect_with_half_an_address": (
        """
half = ctypes.create_string_buffer(b'\\2\\0', 16)
call(42, socket.socket().fileno(), ctypes.addressof(half), 8)
""",
        "EINVAL",
    ),
    "connect_what_is_no_socket": (
        """
where = ctypes.create_string_buffer(b'\\2\\0', 16)
call(42, 2, ctypes.addressof(where), 16)
""",
        "ENOTSOCK",
    ),
    "connect_what_is_not_open": (
        """
where = ctypes.create_string_buffer(b'\\2\\0', 16)
call(42, 99, ctypes.addressof(where), 16)
""",
        "EBADF",
    ),
    "connect_its_channel": (
        """
where = ctypes.create_string_buffer(b'\\2\\0', 16)
call(42, 3, ctypes.addressof(where), 16)
""",
        "EISCONN",
    ),
    "connect_with_another_family": (
        """
where = ctypes.create_string_buffer(b'\\2\\0\\0\\x50\\x7f\\0\\0\\1', 16)
six = socket.socket(socket.AF_INET6)
call(42, six.fileno(), ctypes.addressof(where), 16)
""",
        "EINVAL",
    ),
}
