"""The commands of `orchestrator`, one file each; `orchestrator.cli.program` lists them."""
