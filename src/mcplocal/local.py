"""``mcplocal --local``: the gateway of one project, on this machine, for one client on a pair of pipes.

It runs that project's stdio servers here and decides like any gateway; the person whose log-in it uses needs
``action:gateway,name:<project>``, because the servers' secrets come here.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial

from mcpctl.errors import InvalidSetting, MissingCredential, Problem
from mcplocal import wire
from mcplocal.client_side import ClientSide
from mcplocal.gate import Caller
from mcplocal.gateway import Gateway
from mcplocal.protocol import modern
from mcplocal.protocol.envelope import Incoming, Rejection
from mcplocal.protocol.legacy import client_of, initialized_text, settle_version
from mcplocal.protocol.listening import Listening
from mcplocal.protocol.methods import Circumstances, Methods
from mcplocal.protocol.questions import Questions
from mcplocal.protocol.stdio import Emit, Pipes
from mcplocal.protocol.subscription import Subscription
from mcplocal.settings import Settings
from mcplocal.subscriber import Subscriber
from mcplocal.vigil import Renew
from mcplocal.wire import Era


class LocalGateway:
    """Answers the messages of one client through a gateway in this process."""

    def __init__(self, gateway: Gateway, bearer: str, project: str, *, source: int = 0, sink: int = 1) -> None:
        """Answer as ``bearer`` at the endpoint of ``project``."""
        self._gateway = gateway
        self._bearer = bearer
        self._project = project
        self._methods = Methods(gateway.router)
        self._pipes = Pipes(self._answer, source=source, sink=sink)
        self._listening: asyncio.Task[None] | None = None
        self._client = ClientSide()
        self._questions = Questions()
        self._subscriber = Subscriber()
        self._heard: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve until the client closes its end; then the children end too."""
        async with self._gateway:
            # Shaking hands needs no control plane, and a client that starts this waits for nothing else.
            self._heard = asyncio.create_task(self._gateway.heard())
            try:
                await self._pipes.run()
            finally:
                for task in (self._heard, self._listening):
                    if task is not None:
                        task.cancel()

    async def _answer(self, message: Incoming, _: bytes, emit: Emit) -> None:
        if message.kind == "notification":
            if message.method == "notifications/cancelled":
                self._pipes.cancel(message.value("requestId"))
            return
        if message.kind == "response":
            self._questions.settle(message)
            return
        if message.is_enveloped:
            modern.check_request(message, None)
        elif message.method == "initialize":
            version, self._client = settle_version(message), client_of(message)
            # Whether its servers tell of updates is not asked for now: a client that only shakes hands waits for nobody.
            emit(initialized_text(message, version, tells_of_updates=True))
            return
        try:
            caller, renew = await self._admitted()
        except Problem as problem:
            raise Rejection(wire.INTERNAL_ERROR, f"{problem.title}: {problem.detail}") from None
        how = Circumstances(caller, renew, Era.MODERN, holder="stdio", emit=partial(emit), source="stdio")
        if message.is_enveloped:
            how.client = modern.client_of(message)
            if message.method == wire.LISTEN:
                await self._listen(message, how, emit)
            else:
                emit(await self._methods.answer(message, how))
            return
        if message.method != "ping":
            self._begin_listening()
        with self._questions.of_call(emit) as ask:
            how.era, how.client, how.ask, how.subscriber = Era.LEGACY, self._client, ask, self._subscriber
            emit(await self._methods.answer(message, how))

    async def _listen(self, message: Incoming, how: Circumstances, emit: Emit) -> None:
        """Tell a client of the later era what it wants to hear, until it cancels that."""
        gateway = self._gateway
        wanted = Subscription.of(message, gateway.settings.max_subscriptions)
        how.subscriber = subscriber = Subscriber(is_patient=True)
        try:
            honoured = wanted.acknowledged(await self._methods.subscribed(wanted.uris, message, how))
            listening = Listening(gateway, how.caller, how.renew, self._tell, subscriber, wanted)
            await listening.run(partial(self._tell, honoured))
            emit(wanted.ended)
        except Problem as problem:
            raise Rejection(wire.INTERNAL_ERROR, f"{problem.title}: {problem.detail}") from None
        finally:
            gateway.subscriptions.close(subscriber)

    async def _admitted(self) -> tuple[Caller, Renew]:
        if self._heard is not None:
            await asyncio.shield(self._heard)
        return await self._gateway.admit(self._bearer, self._project)

    def _begin_listening(self) -> None:
        """Once it has asked for something, a client hears when a list of it or a resource has changed.

        Who only shakes hands starts no server.
        """

        async def listen() -> None:
            with suppress(Problem):  # who may not be here now is told when it asks
                caller, renew = await self._admitted()
                await Listening(self._gateway, caller, renew, self._tell, self._subscriber).run(partial(self._tell, None))

        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(listen())

    async def _tell(self, text: str | None) -> None:
        if text is not None:  # a pipe needs no signs of life
            await self._pipes.emit_when_read(text)


async def run(settings: Settings, bearer: str | None) -> None:
    """Serve standard input and output as the gateway of ``settings.project``.

    Raises:
        MissingCredential: nobody is logged in.
        InvalidSetting: no project is named.
    """
    if bearer is None:
        raise MissingCredential("you are not logged in: run 'mcpctl login --server URL'")
    if settings.project is None:
        raise InvalidSetting("say which project's gateway this is to be: --project NAME, or MCPLOCAL_PROJECT")
    await LocalGateway(Gateway(settings, waits=False), bearer, settings.project).run()
