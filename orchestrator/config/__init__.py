"""Settings: one file found upward from the working directory, the environment above it, a script's own table.

`files` finds and reads, `schema` says what may stand there, `entries` what holds for one script, `inline` what a script
says of itself.
"""

from orchestrator.config.files import Config, get_script_config, load_config, read_config, script_config, script_path

__all__ = ["Config", "get_script_config", "load_config", "read_config", "script_config", "script_path"]
