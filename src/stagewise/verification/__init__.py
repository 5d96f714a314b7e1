"""Whether a record is whole: every byte, every claim, walked from one run to the source.

views     what a tracking server, or a bundle's folder, says: the seam that a record is read through
findings  what does not hold, and how it is told
files     every artifact and model, hashed as it streams by
entries   params, tags, metrics, datasets and models, held against the manifests
registry  versions, aliases and the champion, held against sealed checkpoints
chain     the runs of a record, by the manifests that name them
names     the aliases that a record is walked and checked by
bundle    a record as a folder, which is read as a server is
walk      all of it together: `verify(source, run_id, …) -> Verdict`
"""
