# SPDX-License-Identifier: MIT
"""The host's end of the control port: a kernel asks on its second UART, the harness answers.

    guest: REQ 7 resize disk0 16777216        host: OK 7
                                               or:  NO 7 this VMM has no block_resize

Verbs are the rows of VERBS; most are one QMP command.  The harness listens and the VMM connects,
so that no request is lost, however early the kernel sends it.
"""

from .listener import Listener
from .portend import ANSWER, PortEnd
from .qmp import QmpClosed, QmpError

LIMIT = 4096


class Refused(Exception):
    pass


def hello(port, words):
    return "assay-harness 1"


def resize(port, words):
    """resize DRIVE BYTES"""
    drive, size = words
    port.qmp().command("block_resize", device=drive, size=int(size, 0))


def link(port, words):
    """link ID on|off"""
    name, state = words
    port.qmp().command("set_link", name=name, up=state == "on")


def balloon(port, words):
    """balloon BYTES"""
    port.qmp().command("balloon", value=int(words[0], 0))


def inject(port, words):
    """inject nmi | inject reset"""
    if words == ["nmi"]:
        port.qmp().command("inject-nmi")
    elif words == ["reset"]:
        port.qmp().command("system_reset")
    else:
        raise Refused("inject nmi or reset")


def ends(port, words):
    """ends reset | ends shutdown: the guest will do that now, and it is how its TEST passes"""
    if words not in (["reset"], ["shutdown"]):
        raise Refused("ends reset or shutdown")
    port.qmp()  # connected before, or the event would be missed
    port.vm.expected_end = words[0]


def save(port, words):
    """save: the VM is saved and goes on in another process, which hears the answer"""
    port.vm.hand_over()
    port.moved = True
    port.follow_ends()


def port(control, words):
    """port ID open | close | send TEXT | pour BYTES SEED | read BYTES | expect BYTES SEED | until TEXT:
    what happens at the other end of the chardev ID of a virtio port"""
    name, action, *rest = words
    if words == ["all", "close"]:
        return control.close_ends()
    if action not in PortEnd.VERBS:
        raise Refused(f"{action}: not one of {PortEnd.VERBS}")
    return getattr(control.port_end(name), action)(*rest)


def plug(control, words):
    """plug CHARDEV NR NAME: a port is plugged in; "port all close" takes it away again"""
    chardev, number, name = words
    control.plug(f"port{number}", chardev=chardev, nr=int(number), name=name)


def unplug(control, words):
    """unplug NR: it goes, and has gone"""
    control.unplug(f"port{words[0]}")


def replug(control, words):
    """replug CHARDEV NR NAME: unplugged, and another plugged in, while the VM is stopped"""
    control.qmp().command("stop")
    unplug(control, words[1:2])
    plug(control, words)
    control.qmp().command("cont")


def size(port, words):
    """size ID COLS ROWS: the terminal behind that chardev has another size"""
    name, cols, rows = words
    port.qmp().command("chardev-resize", id=name, cols=int(cols), rows=int(rows))


def unsupported(port, words):
    raise Refused("not in this harness yet")


VERBS = {
    "hello": hello,
    "resize": resize,
    "link": link,
    "balloon": balloon,
    "inject": inject,
    "ends": ends,
    "save": save,
    "port": port,
    "plug": plug,
    "unplug": unplug,
    "replug": replug,
    "size": size,
    "migrate": unsupported,
    "next": unsupported,
}


class ControlPort:
    """Serves one VM: `vm` has qmp(), which gives its QMP client, and expected_end."""

    def __init__(self, path, vm):
        self.path = str(path)
        self.vm = vm
        self.qmp = vm.qmp
        self.log = []
        self._ends = {}
        self._plugged = []  # ids of devices
        self.moved = False  # the guest is at the other end of the next connection
        self._listener = Listener(self.path, self._serve)

    def port_end(self, name):
        """The host's end of a virtio port."""
        path = f"{self.vm.build.sockets}/{name}"
        if name not in self._ends:
            self._ends[name] = PortEnd(name, path, self.qmp)
        return self._ends[name]

    def close_ends(self):
        for end in self._ends.values():
            end.close()

        for name in list(self._plugged):
            self.unplug(name)

    def plug(self, device, **properties):
        self.qmp().command("device_add", driver="virtserialport", id=device, **properties)
        self._plugged.append(device)

    def unplug(self, name):
        """QEMU lets go of the chardev a while after its answer, and says so."""
        self.qmp().command("device_del", id=name)
        self.qmp().wait_event("DEVICE_DELETED", ANSWER)
        self._plugged.remove(name)

    def follow_ends(self):
        """The VM goes on in another process, with sockets of its own."""
        for end in self._ends.values():
            end.follow()

    def close(self):
        self._listener.close()

    def _serve(self, listener):
        rest = b""
        while peer := listener.accept():
            with peer:
                try:
                    if self.moved:
                        peer.sendall(self._late)
                    self.moved = False
                    rest = self._serve_peer(peer, rest)
                except OSError:
                    rest = b""

    def _serve_peer(self, peer, rest):
        """Until the peer has gone, or the guest has moved on to another."""
        while True:
            data = peer.recv(4096)
            if not data:
                return rest
            rest += data
            while b"\n" in rest:
                line, _, rest = rest.partition(b"\n")
                answer = self._answer(line.decode("utf-8", "replace").strip("\r\0 "))
                if answer and self.moved:
                    self._late = answer.encode() + b"\n"
                    return rest
                if answer:
                    peer.sendall(answer.encode() + b"\n")
            rest = rest[-LIMIT:]

    def _answer(self, line):
        words = line.split()
        if len(words) < 3 or words[0] != "REQ":
            return None  # noise of a UART test, not a request
        self.log.append(line)
        number, verb = words[1], words[2]
        if verb not in VERBS:
            return f"NO {number} no verb {verb}"
        try:
            said = VERBS[verb](self, words[3:])
        except (Refused, QmpError, QmpClosed, OSError, ValueError, TimeoutError) as error:
            return f"NO {number} {' '.join(str(error).split())}"
        return f"OK {number} {said}" if said else f"OK {number}"
