"""Users of a RabbitMQ of the tests' own, made and given their rights."""

from tests.support.rabbitmq import RabbitNode

USERS = "rabbit_auth_backend_internal"


# As `rabbitmqctl` does, whose start takes longer than the test.
def add_user(node: RabbitNode, user: str, password: str) -> None:
    node.eval(f'{USERS}:add_user(<<"{user}">>, <<"{password}">>, <<"tests">>).')


def set_rights(node: RabbitNode, user: str, *rights: str) -> None:
    """`rights` to configure, to write and to read: expressions for names."""
    each = ", ".join(f'<<"{one}">>' for one in rights)
    node.eval(f'{USERS}:set_permissions(<<"{user}">>, <<"/">>, {each}, <<"tests">>).')


def delete_user(node: RabbitNode, user: str) -> None:
    node.eval(f'{USERS}:delete_user(<<"{user}">>, <<"tests">>).')
