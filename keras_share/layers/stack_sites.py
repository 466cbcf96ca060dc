"""From a block and a pattern to one layer for each site."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import keras

from keras_share.layers.component_site import ComponentSite, first_site
from keras_share.layers.copying import copy_layer
from keras_share.layers.private import Private
from keras_share.layers.relax.relaxed import Relax, relax_layer
from keras_share.layers.tied import Tied
from keras_share.layers.tied_cloner import TiedCloner, is_graph
from keras_share.pattern.sharing_pattern import PatternLike, SharingPattern

Block: TypeAlias = keras.Layer | Callable[[], keras.Layer] | Sequence[keras.Layer]


def read_patterns(
    pattern: PatternLike | Mapping[str, PatternLike], num_sites: int | None
) -> tuple[SharingPattern, dict[str, SharingPattern]]:
    """Reads `pattern=`: the pattern of whole blocks, and those of parts by name.

    With patterns of parts, two sites share in the first where they share all of the
    named parts.

    Raises:
        ValueError: If a pattern is malformed, or two differ in their number of sites.
    """
    if not isinstance(pattern, Mapping):
        return SharingPattern.get(pattern, num_sites), {}
    if not pattern or not all(isinstance(name, str) for name in pattern):
        raise ValueError(
            "A dict of patterns must name parts of the block, for example "
            f"{{'attention': 'shared'}}. Received: pattern={pattern!r}"
        )
    patterns = {n: SharingPattern.get(spec, num_sites) for n, spec in pattern.items()}
    sizes = {name: p.num_sites for name, p in patterns.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(
            "The patterns of all parts must have the same number of sites. "
            f"Received: {sizes}"
        )
    meet = SharingPattern(zip(*(p.labels for p in patterns.values()), strict=True))
    return meet, patterns


def make_sites(
    block: Block,
    pattern: SharingPattern,
    patterns: dict[str, SharingPattern],
    private: Private,
    relax: Relax,
) -> tuple[list[keras.Layer], list[keras.Layer]]:
    """Makes the layers of a stack.

    Args:
        block: As in `SharedStack`.
        pattern: Which sites share whole blocks.
        patterns: If not empty, the patterns of parts instead.
        private: As in `SharedStack`.
        relax: As in `SharedStack`.

    Returns:
        The blocks, one for each site that shares nothing with an earlier one, and the
        layer of each site: a block, or a `Tied` use of one.
    """
    if patterns:
        return _component_sites(block, patterns, private, relax)
    names = [pattern.names[group[0]] for group in pattern.groups]
    blocks = _blocks(block, names)
    if relax is not None:
        blocks = [
            relax_layer(b, relax, len(group)) if len(group) > 1 else b
            for b, group in zip(blocks, pattern.groups, strict=True)
        ]
    sites = []
    for site, group in enumerate(pattern.labels):
        layer = blocks[group]
        if site != pattern.groups[group][0]:
            layer = Tied(layer, private, name=f"{layer.name}_site_{site}")
        sites.append(layer)
    return blocks, sites


def _component_sites(
    block: Block,
    patterns: dict[str, SharingPattern],
    private: Private,
    relax: Relax,
) -> tuple[list[keras.Layer], list[keras.Layer]]:
    num_sites = next(iter(patterns.values())).num_sites
    owners = [
        [first_site(pattern, site) for pattern in patterns.values()]
        for site in range(num_sites)
    ]
    plain = [site for site, own in enumerate(owners) if set(own) == {site}]
    relax = _relax_of_parts(relax, patterns)

    def relaxed(layer):
        return layer if relax is None else relax_layer(layer, relax, num_sites)

    bare = _blocks(block, [str(site) for site in plain])
    blocks = [relaxed(b) for b in bare]
    layers = dict(zip(plain, blocks, strict=True))

    def new_block():
        return relaxed(_copy(bare[0], f"{bare[0].name}_start"))

    sites: list[keras.Layer] = []
    for site, own in enumerate(owners):
        if site in layers:
            sites.append(layers[site])
            continue
        # The block of the site that lends most of the parts; else any will do.
        base = max([b for b in plain if b < site], key=own.count)
        sites.append(
            ComponentSite(
                layers[base],
                private,
                patterns,
                sites,
                new_block,
                name=f"{layers[base].name}_site_{site}",
            )
        )
    return blocks, sites


def _relax_of_parts(relax: Relax, patterns: dict[str, SharingPattern]) -> Relax:
    """Relaxes only the parts that are shared, if `relax` names none itself."""
    if relax is None or isinstance(relax, Mapping):
        return relax
    items = relax if isinstance(relax, (list, tuple)) else [relax]
    shared = [name for name, p in patterns.items() if p.num_groups < p.num_sites]
    return [
        item if isinstance(item, keras.Layer) else dict.fromkeys(shared, item)
        for item in items
    ]


def _blocks(block: Block, names: list[str]) -> list[keras.Layer]:
    if isinstance(block, keras.Layer):
        blocks = [_copy(block, f"{block.name}_{name}") for name in names]
    elif callable(block):
        blocks = [block() for _ in names]
    else:
        blocks = list(block) if isinstance(block, (list, tuple)) else [block]
    if not all(isinstance(b, keras.Layer) for b in blocks):
        raise ValueError(
            "`block` must be a Keras layer, a function that returns one, or a list "
            f"with one layer per group. Received: block={block!r}"
        )
    separate = len(set(blocks))
    if len(blocks) != len(names) or separate != len(names):
        raise ValueError(
            f"`block` must give one separate layer per group ({len(names)}); a "
            "function must return a new layer at each call. Received: "
            f"{separate} separate layers"
        )
    return blocks


def _copy(block: keras.Layer, name: str) -> keras.Layer:
    if is_graph(block):
        # By its config each `Tied` inside would get a layer of its own.
        return TiedCloner().model(block, name)
    return copy_layer(block, name=name)
