"""What ``reconciler --help`` says. Plain text, so that saying it loads nothing."""

COMMANDS = {
    "validate": "Check specs and data, offline.",
    "fmt": "Put specs into their usual form.",
    "plan": "Show what apply would do.",
    "apply": "Make the live jobs what the specs say.",
    "watch": "Follow specs and jobs, and converge.",
    "status": "Show where each job stands.",
    "events": "Show what happened to a job.",
    "checkpoints": "Show a job's checkpoints.",
    "history": "Show all jobs of a spec, with commits.",
    "trace": "Find where a model comes from.",
    "outputs": "Print the models the specs produced.",
    "import": "Write specs for jobs made elsewhere.",
    "pause": "Set specs to paused, in place.",
    "resume": "Set specs to running, in place.",
    "cancel": "Set specs to cancelled, in place.",
    "drift": "Show what was changed outside the specs.",
    "ci": "Run in a pipeline: comment, summary, outputs.",
    "gc": "Delete data and checkpoints no longer needed.",
    "graph": "Draw which spec starts from which.",
    "schema": "Print the JSON Schema of a spec.",
    "doctor": "Check settings, server and key.",
    "init": "Write a first spec, data and settings.",
    "models": "Export what the server has trained.",
    "serve": "Run the embedded fine-tuning server.",
}
"""Every command and its line; its module ``reconciler.cli.NAME`` is loaded only when it runs."""

_WIDTH = max(map(len, COMMANDS))

OVERVIEW = f"""\
Usage: reconciler COMMAND [OPTIONS] [PATHS]...

  Fine-tuning jobs as code: a directory of specs in git is the truth.

  Specs are compared with the live jobs of any server that speaks the OpenAI
  fine-tuning API; a plan shows the difference, and apply creates, cancels,
  pauses and resumes until they agree.

Commands:
{"".join(f"  {name:{_WIDTH}}  {line}" + chr(10) for name, line in COMMANDS.items())}
Options:
  --version                 Show the version and exit.
  --log-format [text|json]  How to print what goes to stderr.
  -v, --verbose             Log each request, retry, listing and plan.
  --debug                   Log heads of requests and answers too, without keys.
  -h, --help                Show this message and exit; after a COMMAND, its own.

Start with no account: reconciler init, then reconciler apply --server local --wait
"""
