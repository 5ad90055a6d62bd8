"""For the project's own tests: pytest's plugin tester. The suites need nothing from here; the plugin comes installed."""

pytest_plugins = ("pytester",)
