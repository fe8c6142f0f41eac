"""The moving parts: scheduler, runner, monitor, dispatcher and the tasks they run in."""
