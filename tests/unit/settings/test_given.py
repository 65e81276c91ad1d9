"""What somebody wrote and did not mean, or what others wrote for him: it is told."""

import re
from pathlib import Path

import pytest
import yaml

from mspc.errors import ConfigError
from mspc.settings.config import AmqpConfig, Config
from mspc.settings.effects import SAMPLE
from mspc.settings.load import load_config
from mspc.settings.table import NAMES

PROJECT = Path(__file__).parents[3]
NOWHERE = Path("/nonexistent")
LINK = "tcp://10.96.0.7:5672"


def load(root: Path, text: str = "", **environ: str) -> Config:
    (root / "env.yml").write_text(text)
    return load_config(None, environ, root)


def remarks(config: Config) -> list[str]:
    """But for the one that every test here would have."""
    return [one for one in config.remarks if not one.startswith("AUTHORIZATION_KEY is")]


def problems(root: Path, text: str = "", **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(root, text, **environ)
    return "\n".join(caught.value.problems)


class TestServiceLinks:
    """Kubernetes and Docker set <NAME>_PORT for whatever is called <name>."""

    @pytest.mark.parametrize("name", ["QUEUE_PORT", "HTTP_PORT", "HTTPS_PORT"])
    @pytest.mark.parametrize(
        "link",
        [
            LINK,
            "udp://10.96.0.7:53",
            "sctp://10.96.0.7:1",
            "tcp://[fd00:10:96::7]:5672",
        ],
    )
    @pytest.mark.parametrize("scheme", ["sqlite", "amqp"])
    def test_a_link_is_not_taken(
        self, tmp_path: Path, name: str, link: str, scheme: str
    ) -> None:
        plain = load(tmp_path, QUEUE_SCHEME=scheme)
        linked = load(tmp_path, QUEUE_SCHEME=scheme, **{name: link})
        (remark,) = remarks(linked)
        assert remark.startswith(f"{name} in the environment is the address")
        assert "`enableServiceLinks: false`" in remark
        assert (linked.queue, linked.http) == (plain.queue, plain.http)

    def test_the_file_counts_as_if_there_were_no_link(self, tmp_path: Path) -> None:
        text = "QUEUE_SCHEME: amqp\nQUEUE_PORT: 5673\n"
        queue = load(tmp_path, text, QUEUE_PORT=LINK).queue
        assert isinstance(queue, AmqpConfig)
        assert queue.hosts == (("localhost", 5673),)

    def test_all_links_are_told_in_one_remark(self, tmp_path: Path) -> None:
        (remark,) = remarks(load(tmp_path, QUEUE_PORT=LINK, HTTP_PORT=LINK))
        assert remark.startswith("QUEUE_PORT, HTTP_PORT in the environment")

    def test_the_name_of_a_container_that_is_linked(self, tmp_path: Path) -> None:
        config = load(
            tmp_path, QUEUE_SCHEME="amqp", QUEUE_PORT=LINK, QUEUE_NAME="/app/queue"
        )
        assert isinstance(config.queue, AmqpConfig)
        assert config.queue.name == "services"
        (remark,) = remarks(config)
        assert remark.startswith("QUEUE_PORT, QUEUE_NAME in the environment")

    def test_a_name_of_that_form_alone_is_taken(self, tmp_path: Path) -> None:
        queue = load(tmp_path, QUEUE_SCHEME="amqp", QUEUE_NAME="/app/queue").queue
        assert isinstance(queue, AmqpConfig)
        assert queue.name == "/app/queue"

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("QUEUE_PORT", "tcp://rabbit:5672"),
            ("QUEUE_PORT", "tcp://10.96.0.7"),
            ("QUEUE_HOST", "tcp://rabbit:5672"),
            ("HTTP_PORT", "10.96.0.7:8008"),
        ],
    )
    def test_what_is_no_link_is_a_mistake(
        self, tmp_path: Path, name: str, text: str
    ) -> None:
        assert problems(tmp_path, **{name: text}).startswith(f"{name} must be")

    def test_in_the_file_it_is_a_mistake(self, tmp_path: Path) -> None:
        assert problems(tmp_path, f"QUEUE_PORT: {LINK}").startswith("QUEUE_PORT must")

    def test_a_secret_may_look_like_one(self, tmp_path: Path) -> None:
        assert load(tmp_path, AUTHORIZATION_KEY=LINK).auth.key == LINK


class TestComments:
    @pytest.mark.parametrize(
        ("line", "value"),
        [
            ("AUTHORIZATION_KEY: abc #def", "abc"),
            ("AUTHORIZATION_KEY: abc   # def", "abc"),
            ("AUTHORIZATION_KEY: #abc", ""),
        ],
    )
    def test_a_comment_that_may_have_been_meant(
        self, tmp_path: Path, line: str, value: str
    ) -> None:
        config = load(tmp_path, f"TLS: 0\n{line}\n")
        assert config.auth.key == value
        (told,) = [one for one in config.remarks if "#" in one]
        assert told.startswith("AUTHORIZATION_KEY (env.yml, line 2) ends before the #")
        assert "abc" not in told
        assert "def" not in told

    @pytest.mark.parametrize(
        "line",
        [
            "QUEUE_NAME: calls #2",
            "RABBITMQ_DEFAULT_PASS: a #b",
            "RABBITMQ_DEFAULT_VHOST: / # the default",
            "LOG_FILE: ./logs/a #b.log",
        ],
    )
    def test_wherever_a_hash_may_stand(self, tmp_path: Path, line: str) -> None:
        config = load(tmp_path, f"QUEUE_SCHEME: amqp\n{line}")
        assert len([one for one in config.remarks if "ends before the #" in one]) == 1

    @pytest.mark.parametrize(
        "line",
        [
            "AUTHORIZATION_KEY: 'abc' # the key",
            'AUTHORIZATION_KEY: "abc" #def',
            "AUTHORIZATION_KEY: 'abc #def'",
            "AUTHORIZATION_KEY: abc#def",
            "AUTHORIZATION_KEY: k\n# a comment",
            "AUTHORIZATION_KEY: k\n\n  # a comment\nHTTP_PORT: 8018 # the port",
            "AUTHORIZATION_KEY: k\nFAST_PUBLISH: 0 # 1 is faster",
            "AUTHORIZATION_KEY: k\nFORWARD_DENY_NETWORKS: 10.0.0.0/8 # the office",
        ],
    )
    def test_a_comment_that_is_one(self, tmp_path: Path, line: str) -> None:
        assert load(tmp_path, line).remarks == ()

    def test_a_variable_that_overrides_it(self, tmp_path: Path) -> None:
        config = load(tmp_path, "AUTHORIZATION_KEY: a #b", AUTHORIZATION_KEY="c")
        assert config.remarks == ()


class TestYaml:
    """Characters that mean something to YAML: an error that says what to do."""

    @pytest.mark.parametrize(
        "value",
        [
            *("::", "*", "*abc", "@abc", "%abc", "`abc", "a: b", ":", "- a", "'a'b"),
            *("{", "[", "}", "]", "|", ">", "? ", "!", '"', "{a", ">a", ",a]b: c"),
        ],
    )
    def test_a_value_that_needs_quotes(self, tmp_path: Path, value: str) -> None:
        try:
            config = load(tmp_path, f"AUTHORIZATION_KEY: {value}\n")
        except ConfigError as exc:
            (told,) = exc.problems
            assert "quote" in told or "one line" in told
        else:
            assert config.auth.key == value.strip()

    @pytest.mark.parametrize("value", ["::", "*", "{", "%"])
    def test_the_address_of_every_interface(self, tmp_path: Path, value: str) -> None:
        told = problems(tmp_path, f"HTTP_HOST: {value}\n")
        assert "line " in told
        assert "needs quotes: '::'" in told
        assert load(tmp_path, "HTTP_HOST: '::'\n").http.host == "::"
        assert load(tmp_path, "HTTP_HOST: ::1\n").http.host == "::1"

    @pytest.mark.parametrize("value", ["&abc", "&abc def", "&a 'b'", "!a b"])
    def test_an_anchor_does_not_go_unnoticed(self, tmp_path: Path, value: str) -> None:
        told = problems(tmp_path, f"AUTHORIZATION_KEY: {value}\n")
        assert told.startswith("AUTHORIZATION_KEY (env.yml, line 1) must be one plain")


class TestWithoutEffect:
    @pytest.mark.parametrize(
        ("texts", "expected"),
        [
            ({"SPOOL": "1"}, "SPOOL: without effect, since QUEUE_SCHEME is sqlite."),
            (
                {"SPOOL": "1", "QUEUE_HOST": "queue"},
                "QUEUE_HOST, SPOOL: without effect, since QUEUE_SCHEME is sqlite.",
            ),
            (
                {"REDIRECT_TO_TLS": "0"},
                "REDIRECT_TO_TLS: without effect, since TLS is 0.",
            ),
            (
                {"REDIRECT_TO_TLS": "1", "HTTPS_PORT": "443"},
                "REDIRECT_TO_TLS, HTTPS_PORT: without effect, since TLS is 0.",
            ),
            (
                {"AUTHORIZATION_MAX_AGE_SECONDS": "60"},
                "AUTHORIZATION_MAX_AGE_SECONDS: without effect, since AUTHORIZATION_KEY"
                " is empty.",
            ),
            (
                {"QUEUE_SCHEME": "amqp", "QUEUE_HOST": "a:1", "QUEUE_PORT": "2"},
                "QUEUE_PORT: without effect, since QUEUE_HOST has ports of its own.",
            ),
            (
                {"FILE_LOG_ENABLED": "0", "LOG_FILES_KEPT": "3"},
                "LOG_FILES_KEPT: without effect, since FILE_LOG_ENABLED is 0.",
            ),
            (
                {"LOG_FILE_MAX_BYTES": "0", "LOG_FILES_KEPT": "3"},
                "LOG_FILES_KEPT: without effect, since LOG_FILE_MAX_BYTES is 0.",
            ),
            (
                {
                    "FORWARD_DENY_NETWORKS": "none",
                    "FORWARD_ALLOW_NETWORKS": "10.0.0.0/8",
                },
                "FORWARD_ALLOW_NETWORKS: without effect, since no network is denied.",
            ),
        ],
    )
    def test_it_is_told_once(
        self, tmp_path: Path, texts: dict[str, str], expected: str
    ) -> None:
        written = "".join(f"{name}: {text}\n" for name, text in texts.items())
        assert remarks(load(tmp_path, written)) == [expected]
        assert remarks(load(tmp_path, **texts)) == [expected]

    def test_what_has_an_effect_is_not_told(self, tmp_path: Path) -> None:
        text = "QUEUE_SCHEME: amqp\nSPOOL: 1\nDATA_DIR: d\nQUEUE_HOST: a,b:1\n"
        assert remarks(load(tmp_path, f"{text}QUEUE_PORT: 1\n")) == []

    def test_a_copy_of_the_sample_is_no_noise(self, tmp_path: Path) -> None:
        """But what somebody changed in it is told."""
        sample = (PROJECT / "env.dist.yml").read_text()
        embedded = sample.replace("QUEUE_SCHEME: amqp", "QUEUE_SCHEME: sqlite")
        assert remarks(load(tmp_path, sample)) == []
        assert remarks(load(tmp_path, embedded)) == []
        changed = embedded.replace("QUEUE_HOST: queue", "QUEUE_HOST: rabbit")
        assert remarks(load(tmp_path, changed)) == [
            "QUEUE_HOST: without effect, since QUEUE_SCHEME is sqlite."
        ]

    @pytest.mark.parametrize(
        "changed",
        [
            *("", "QUEUE_SCHEME: sqlite\n", "QUEUE_SCHEME: amqp\n"),
            "QUEUE_SCHEME: amqp\nSPOOL: 0\nJOURNAL: 0\nADMIN: 0\n",
        ],
    )
    def test_what_the_unit_sets_is_no_noise(self, tmp_path: Path, changed: str) -> None:
        """Whoever starts it cannot mend that."""
        unit = (PROJECT / "deploy/mspc.service").read_text()
        environ = dict(re.findall(r"^Environment=(\w+)=(.*)$", unit, re.MULTILINE))
        assert {"DATA_DIR", "SSL_DIR"} <= environ.keys()
        assert remarks(load(tmp_path, changed, **environ)) == []

    def test_the_sample_is_known(self) -> None:
        values = yaml.load(
            (PROJECT / "env.dist.yml").read_text(), Loader=yaml.BaseLoader
        )
        known = {name: text for name, text in values.items() if text}
        assert known == {name: SAMPLE[name] for name in known}
        assert values.keys() == set(NAMES)


class TestAuthorizationHeader:
    @pytest.mark.parametrize(
        "name",
        [
            *("X_Authorization", "_", "Content-Length", "HOST", "connection"),
            *("Transfer-Encoding", "Content-Type", "Expect", "Upgrade", "TE"),
            *("Proxy-Authorization", "Trailer", "Keep-Alive", "X" * 201),
        ],
    )
    def test_what_can_never_work_is_refused(self, tmp_path: Path, name: str) -> None:
        told = problems(tmp_path, AUTHORIZATION_HEADER=name)
        assert told.startswith("AUTHORIZATION_HEADER must be ")

    def test_the_hint(self, tmp_path: Path) -> None:
        told = problems(tmp_path, AUTHORIZATION_HEADER="X_Authorization")
        assert told.endswith("Use 'X-Authorization'.")

    @pytest.mark.parametrize("name", ["Authorization", "x-key", "X.Key", "!#$%&'*+|~"])
    def test_others_are_taken(self, tmp_path: Path, name: str) -> None:
        config = load(tmp_path, AUTHORIZATION_HEADER=name, AUTHORIZATION_KEY="k")
        assert config.auth.header == name
