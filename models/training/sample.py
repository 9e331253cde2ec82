"""Text from a trained model, to look at."""

import jax
from flax import nnx
from jax import lax
from jax import numpy as jnp

from models.transformer import Transformer


def sample(
    model: Transformer, prompt: str, *, num_tokens: int, temperature: float = 0.0, seed: int = 0
) -> str:
    """Returns the prompt and what the model makes of it.

    Args:
        model: With a tokenizer.
        prompt: Not empty.
        num_tokens: How many to add.
        temperature: Zero takes the likeliest token every time.
        seed: Of the draws.
    """
    if model.tokenizer is None:
        raise ValueError("sampling needs a model with a tokenizer; load it from a folder with tokenizer.json")
    ids = model.tokenizer.encode(prompt)
    graph, params = nnx.split(model)
    length = len(ids)

    def choose(logits: jax.Array, key: jax.Array) -> jax.Array:
        last = logits[:, -1]
        if temperature == 0.0:
            return jnp.argmax(last, axis=-1)
        return jax.random.categorical(key, last / temperature, axis=-1)

    @jax.jit
    def generate(params: nnx.State, tokens: jax.Array, key: jax.Array) -> jax.Array:
        merged = nnx.merge(graph, params)
        cache = merged.init_cache(1, length + num_tokens)
        logits, cache = merged(tokens, cache, jnp.arange(length)[None])
        first_key, key = jax.random.split(key)

        def step(carry: tuple, inputs: tuple) -> tuple:
            token, cache = carry
            position, step_key = inputs
            logits, cache = merged(token[:, None], cache, position[None, None])
            following = choose(logits, step_key)
            return (following, cache), following

        first = choose(logits, first_key)
        positions = length + jnp.arange(num_tokens - 1)
        _, rest = lax.scan(step, (first, cache), (positions, jax.random.split(key, num_tokens - 1)))
        return jnp.concatenate([first[None], rest])[:, 0]

    new_ids = generate(params, jnp.asarray([ids], jnp.int32), jax.random.key(seed))
    return model.tokenizer.decode(ids + new_ids.tolist())
