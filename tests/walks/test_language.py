"""Does ordinary Python work in a real isolate, locked down, with nothing left to open?"""

from tests.conftest import LiveServer


def test_the_programs_of_the_language_load_behind_the_wall(server: LiveServer) -> None:
    pushed = server.tenant().push("language")
    assert pushed.status_code == 201, pushed.text
