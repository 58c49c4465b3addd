"""Random specs over the whole language, with so few names that they clash."""

import random

NAMES = ["i", "j", "_", "w", "n", "channels", "height", "branch", "x", "k", "index", "nn", "branches"]


def spec(layers, params="", blocks=""):
    return f'name: own\ninput: [3, 16, 16]\nparams: {{{params}}}\nblocks: {{{blocks}}}\nlayers:\n  - "{layers}"\n'


class Drawn:
    """A random spec."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        names = {self.random.choice(NAMES): self.random.randint(1, 4) for _ in range(self.random.randint(0, 3))}
        lists = {key: [self.random.randint(1, 4) for _ in range(self.random.randint(1, 5))] for key in ("ks", "cs")}
        self.lists = list(lists)
        self.blocks = []
        own = [self.block(label, list(names)) for label in self.random.sample(["unit", "cell", "branch1"], 2)]
        layers = " | ".join(self.step(list(names), 0) for _ in range(self.random.randint(1, 3)))
        self.text = spec(layers, ", ".join(f"{k}: {v}" for k, v in {**names, **lists}.items()), ", ".join(own))

    def block(self, label, names):
        own = self.random.sample(NAMES, self.random.randint(1, 2))
        body = " | ".join(self.step(names + own, 1) for _ in range(self.random.randint(1, 3)))
        self.blocks.append((label, len(own)))
        return f"'{label}({', '.join(own)})': ['{body}']"

    def number(self, names):
        number = self.random.choice([*names, *names, "1", "2", "3"])
        other = self.random.choice([*names, "2"])
        return f"min(6, {self.random.choice([number, number, f'{number} * {other}', f'{number} + {other}'])})"

    def step(self, names, depth):
        size = self.number(names)
        kinds = [self.layer] if depth > 3 else [self.layer, self.layer, self.chain, self.loop, self.join, self.nested]
        return self.random.choice(kinds)(names, depth + 1, size)

    def layer(self, names, depth, size):
        return self.random.choice([f"conv({size}, 1)", f"conv(in_channels + {size}, 1)", "relu", "batchnorm"])

    def chain(self, names, depth, size):
        steps = f"{self.step(names, depth)} | {self.step(names, depth)}"
        return f"{self.random.choice([size, '2', '4'])} * ({steps})"

    def loop(self, names, depth, size):
        own = self.random.choice(NAMES)
        through = self.random.choice(["range(3)", f"range(1, {size} + 1)", "[1, 2, 3]", *self.lists])
        test = self.random.choice(["", "", f" if {own} > 1"])
        return f"chain({self.step([*names, own], depth)} for {own} in {through}{test})"

    def join(self, names, depth, size):
        kind = self.random.choice(["concat({0}, {1})", "add({0} | conv({2}, 1), conv({2}, 1))"])
        return kind.format(self.step(names, depth), self.step(names, depth), size)

    def nested(self, names, depth, size):
        if not self.blocks:
            return self.layer(names, depth, size)
        label, count = self.random.choice(self.blocks)
        return f"{label}({', '.join(self.number(names) for _ in range(count))})"
