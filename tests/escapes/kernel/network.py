"""Attacks on the network, local sockets, and what a channel could smuggle."""

import socket

from tests.escapes.kernel.registry import Control, End, Target, attack, call


@attack()
def connect_to_a_port(target: Target) -> object:
    return socket.create_connection(("127.0.0.1", target.tcp), 1)


@attack()
def connect_below_python(target: Target) -> object:
    return call("socket", socket.AF_INET, socket.SOCK_STREAM, 0)


@attack()
def send_a_datagram(target: Target) -> object:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"out", ("127.0.0.1", target.udp))


@attack()
def an_ipv6_socket(target: Target) -> object:
    return socket.socket(socket.AF_INET6, socket.SOCK_STREAM)


@attack()
def connect_to_a_socket_by_its_path(target: Target) -> None:
    socket.socket(socket.AF_UNIX).connect(target.path_socket)


@attack()
def connect_to_an_abstract_socket(target: Target) -> None:
    socket.socket(socket.AF_UNIX).connect(f"\0{target.abstract_socket}")


@attack()
def ask_the_kernel_by_netlink(target: Target) -> object:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)


@attack(control=Control.HARMFUL)
def a_raw_socket(target: Target) -> object:
    return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)


@attack(control=Control.HARMFUL)
def a_packet_socket(target: Target) -> object:
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)


@attack(control=Control.HARMFUL)
def a_cipher_socket(target: Target) -> object:
    return socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)


@attack(control=Control.HARMFUL)
def a_socket_to_the_hypervisor(target: Target) -> object:
    return socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)


@attack()
def listen_on_a_port(target: Target) -> object:
    return socket.create_server(("127.0.0.1", 0))


@attack()
def a_pair_of_sockets(target: Target) -> object:
    return socket.socketpair()


@attack()
def look_up_a_name(target: Target) -> object:
    # The resolver hides why it fails; what it needs first is a file or a socket.
    try:
        return socket.getaddrinfo("localhost", 80)
    except socket.gaierror:
        raise PermissionError(1, "getaddrinfo") from None


@attack(control=Control.HARMFUL)
def smuggle_a_descriptor_out(target: Target) -> object:
    return call("sendmsg", 3, 0, 0)


@attack(control=Control.HARMFUL)
def smuggle_a_descriptor_in(target: Target) -> object:
    return call("recvmsg", 3, 0, 0)


@attack(control=Control.HARMFUL)
def ask_who_is_on_the_other_side(target: Target) -> object:
    return call("getsockopt", 3, socket.SOL_SOCKET, socket.SO_PEERCRED, 0, 0)


@attack(control=Control.HARMFUL)
def accept_on_the_channel(target: Target) -> object:
    return call("accept4", 3, 0, 0, 0)


@attack(control=Control.HARMFUL)
def connect_the_channel_elsewhere(target: Target) -> object:
    return call("connect", 3, b"\1\0x\0", 4)


@attack(control=Control.HARMFUL)
def shut_the_channel(target: Target) -> object:
    return call("shutdown", 3, 2)


@attack(End.KILLED, control=Control.HARMFUL)
def rename_the_machine(target: Target) -> None:
    socket.sethostname("owned")
