"""Generated PyTorch source, run by itself and held against what `archcalc.pytorch.build` makes."""

import ast

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from archcalc.pytorch import Training, build

IMPORTS = {"torch"}  # what the source may import
UNCHANGED = {("aten::add", (0,)), ("aten::div", (1,)), ("aten::clone", ())}  # x + 0, x / 1 and a copy have x's values


def run(source):
    """The network's class, from nothing but its text."""
    tree = ast.parse(source)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {getattr(node, "module", None) or node.names[0].name for node in imports}
    assert modules <= IMPORTS
    assert "archcalc" not in ast.unparse(tree.body[1:])  # after the docstring
    space = {"__name__": "generated"}
    exec(compile(tree, "generated", "exec"), space)  # what is tested
    return space[[node.name for node in tree.body if isinstance(node, ast.ClassDef)][-1]]


def made(source, **arguments):
    """The network without values."""
    with torch.device("meta"):
        return run(source)(**arguments)


def states(network):
    """The shapes of parameters, and of all that is kept, in order."""
    return [p.shape for p in network.parameters()], [value.shape for value in network.state_dict().values()]


def carrying(source):
    """The line of the docstring that carries weights over, as a function of `model` and `other`."""
    (line,) = [line for line in ast.get_docstring(ast.parse(source)).splitlines() if "load_state_dict" in line]

    def carry(model, other):
        exec(line.strip(), {"model": model, "other": other})  # what is tested

    return carry


def listed(given):
    """What a network gives, as a tuple: the result, then side outputs."""
    if isinstance(given, Training):
        return (given.result, *given.sides.values())
    return given if isinstance(given, tuple) else (given,)


# By values


def assert_same_values(source, graph, carry=None):
    """Raise AssertionError unless both give the same for the same weights, in evaluation and in training."""
    torch.manual_seed(0)
    built, own = build(graph), run(source)()
    with torch.no_grad():
        for value in built.state_dict().values():
            if value.is_floating_point():
                value.add_(torch.rand_like(value) / 8)  # running statistics and biases that are no longer 0 or 1
    (carry or carrying(source))(own, built)
    image = torch.rand(2, *graph.input)
    for training in (False, True):
        with torch.set_grad_enabled(training):
            expected, given = (seeded(network.train(training), image) for network in (built, own))
        assert isinstance(given, tuple) == isinstance(expected, Training)
        _assert_equal(listed(expected), listed(given))
    _assert_equal(built.state_dict().values(), own.state_dict().values())  # running statistics
    total = sum(value.sum() for value in listed(given))
    if total.requires_grad:
        total.backward()  # raises where something that backward needs was overwritten


def _assert_equal(expected, given):
    for left, right in zip(expected, given, strict=True):
        assert torch.equal(left.nan_to_num(), right.nan_to_num())


def seeded(network, image):
    """What a network gives; dropout and its like draw alike each time."""
    torch.manual_seed(1)
    return network(image.clone())


# By operations


class Dispatched(TorchDispatchMode):
    """Numbers what each operation on the meta device gives: by its name, its plain arguments and its tensors' numbers.

    So two tensors have one number exactly if they are computed alike, from the same image and the same weights. What
    works in place gives what it would give elsewhere, and has written to a storage: who reads that by another tensor,
    such as the operation's own input, gets a number that nothing else has. So working in place makes no difference
    where it is right, and does where it is wrong. Nor do UNCHANGED operations.
    """

    def __init__(self):
        super().__init__()
        self.numbers = {}
        self.known = {}  # by tensor: its number, and the last write to its storage then
        self.writes = {}  # by storage: the number that was last written there
        self.kept = []  # tensors, so that each has an address of its own
        self.outlines = {}  # by operation and arguments: what its output is like, which PyTorch takes long to find out
        self.schemas = {}

    def number(self, *key):
        """The number of what is computed so."""
        return self.numbers.setdefault(key, len(self.numbers))

    def note(self, tensor, number):
        """Give a tensor its number."""
        self.kept.append(tensor)
        self.known[id(tensor)] = number, self.writes.get(tensor.untyped_storage()._cdata)

    def read(self, tensor):
        """A tensor's number; of one that came about unseen, by its shape."""
        if id(tensor) not in self.known:
            self.note(tensor, self.number("constant", *outline(tensor)))
        number, seen = self.known[id(tensor)]
        last = self.writes.get(tensor.untyped_storage()._cdata)
        return number if seen == last else self.number("overwritten", number, last)

    def schema(self, operation):
        """What it is called where it does not work in place, what it writes to, and whether its output is its own."""
        if operation not in self.schemas:
            schema = operation._schema
            written = [i for i, a in enumerate(schema.arguments) if a.alias_info and a.alias_info.is_write]
            name = schema.name.removesuffix("_") if written else schema.name
            own = not any(a.alias_info for a in (*schema.arguments, *schema.returns))
            self.schemas[operation] = name, schema.overload_name, written, own
        return self.schemas[operation]

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        arguments = (*args, *sorted((kwargs or {}).items()))
        name, overload, written, own = self.schema(operation)
        plain = told(arguments, self.read)
        same = (name, plain[1:]) in UNCHANGED
        number = self.read(args[0]) if same else self.number(name, overload, plain)
        given = self.run(operation, args, kwargs or {}, (operation, told(arguments, outline)) if own else None)
        for i in written:
            self.writes[args[i].untyped_storage()._cdata] = number
            self.note(args[i], number)
        for i, tensor in enumerate(given if isinstance(given, tuple | list) else [given]):
            if isinstance(tensor, torch.Tensor) and not any(tensor is args[j] for j in written):
                self.note(tensor, self.number("part", number, i) if i else number)
        return given

    def run(self, operation, args, kwargs, key):
        """What it gives; where the key is known, tensors like those of the time before."""
        if key in self.outlines:
            made = [torch.empty_strided(*sizes, dtype=dtype, device="meta") for *sizes, dtype in self.outlines[key]]
            return tuple(made) if len(made) > 1 else made[0]
        given = operation(*args, **kwargs)
        tensors = given if isinstance(given, tuple) else (given,)
        if key and all(isinstance(tensor, torch.Tensor) and tensor.is_meta for tensor in tensors):
            self.outlines[key] = list(map(outline, tensors))
        return given


def outline(tensor):
    """All that a tensor on the meta device is."""
    return tuple(tensor.shape), tensor.stride(), tensor.dtype


def told(value, tell):
    """Arguments that can be looked up: each tensor as `tell` has it."""
    if isinstance(value, torch.Tensor):
        return "tensor", tell(value)
    return tuple([told(item, tell) for item in value]) if isinstance(value, list | tuple) else value


def computed(mode, network, shape, training):
    """The numbers of what a network on the meta device gives, and of the parameters and buffers it leaves."""
    kept = list(network.state_dict(keep_vars=True).values())
    for i, tensor in enumerate(kept):
        mode.note(tensor, mode.number("kept", i))
    image = torch.empty(2, *shape, device="meta")
    mode.note(image, mode.number("image"))
    torch.manual_seed(1)
    with torch.no_grad(), mode:
        given = listed(network.train(training)(image))
    return [mode.read(tensor) for tensor in (*given, *kept)]


def assert_same_operations(source, graph):
    """Raise AssertionError unless both do the same operations, in evaluation and in training."""
    built, own, mode = build(graph, "meta"), made(source), Dispatched()
    assert states(own) == states(built)
    for training in (False, True):
        expected = computed(mode, built, graph.input, training)
        known = len(mode.numbers)
        if computed(mode, own, graph.input, training) != expected:
            other = next((key for key, number in mode.numbers.items() if number >= known), "what is known, elsewhere")
            raise AssertionError(f"computes otherwise: {other}")
