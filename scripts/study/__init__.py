"""The library behind the rules: everything here works, and is tested, without Snakemake."""
