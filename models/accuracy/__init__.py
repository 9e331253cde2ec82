"""What sparse attention costs in accuracy: methods, and their evaluation on text and on retrieval.

Prompts attend exactly, as on a GPU; every later token attends by a method, as on a drive. Texts are known, so all later tokens
go through a layer together (teacher forcing), each with its own choice among the tokens before it.

Letters: ``B`` rows, ``K`` KV heads, ``G`` query heads that share one, ``D`` head size, ``P`` tokens of the prompt, ``Q`` later
tokens, ``S = P + Q`` all of them, ``C`` queries of a chunk.
"""
