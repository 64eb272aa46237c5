"""Routes: proxy models."""

from __future__ import annotations

from sqlalchemy import select

from mcpctl.api import naming
from mcpctl.api.naming import ListQuery
from mcpctl.api.operations import Call, Filtered, Guarded, Operation
from mcpctl.errors import FieldError, InvalidInput
from mcpctl.services import proxy_models
from mcpctl.services.reading import Reading, page
from mcpctl.services.work import Work
from mcpctl.store.schema import ProxyModel
from mcpctl.wire import proxy_models as wire
from mcpctl.wire.shapes import Page


def list_proxy_models(reading: Reading, call: Call) -> Page[wire.ProxyModel]:
    """The proxy models the asker may view."""
    rows = select(ProxyModel).order_by(ProxyModel.name)
    return page(
        reading,
        "proxymodels",
        lambda after, limit: reading.db.scalars(rows.where(ProxyModel.name > after).limit(limit)).all(),
        lambda model: model.name,
        lambda model: proxy_models.shown(reading.db, model, reading.actor.authority),
        limit=call.query.limit,
        cursor=call.query.cursor,
    )


def describe_proxy_model(reading: Reading, call: Call) -> wire.ProxyModel:
    """One proxy model."""
    return proxy_models.shown(reading.db, proxy_models.find(reading.db, call.params["id"]), reading.actor.authority)


def create_proxy_model(work: Work, call: Call) -> wire.ProxyModel:
    return proxy_models.shown(work.db, proxy_models.create(work, call.body), work.authority)


def replace_proxy_model(work: Work, call: Call) -> wire.ProxyModel:
    model = proxy_models.find(work.db, call.params["id"])
    if call.body.name not in (None, model.name):
        message = f"it is {model.name!r} in the path; a proxy model is not renamed"
        raise InvalidInput(f"name: {message}", errors=[FieldError("name", message)])
    return proxy_models.shown(work.db, proxy_models.replace(work, model, call.body), work.authority)


_V = "/api/v1/proxymodels"
_T = ("proxymodels",)
_model = naming.by_id_or_name(ProxyModel, "proxymodels")

OPERATIONS = (
    Operation(
        "GET", _V, Filtered("proxymodels"), "read", list_proxy_models,
        "List proxy models", Page[wire.ProxyModel], query=ListQuery, tags=_T,
    ),
    Operation(
        "POST", _V, Guarded("create", "proxymodels", naming.body_name), "write", create_proxy_model,
        "Keep a proxy model", wire.ProxyModel, body=wire.NewProxyModel, status=201, tags=_T, errors=(409,),
    ),
    Operation(
        "GET", f"{_V}/{{id}}", Guarded("view", "proxymodels", _model), "read", describe_proxy_model,
        "Describe a proxy model", wire.ProxyModel, tags=_T,
    ),
    Operation(
        "PUT", f"{_V}/{{id}}", Guarded("edit", "proxymodels", _model), "write", replace_proxy_model,
        "Replace a proxy model; needs expose on each project and edit on each server that uses it too", wire.ProxyModel,
        body=wire.ProxyModelBody, tags=_T,
    ),
    Operation(
        "DELETE", f"{_V}/{{id}}", Guarded("delete", "proxymodels", _model), "write",
        lambda work, call: proxy_models.remove(work, proxy_models.find(work.db, call.params["id"])),
        "Delete a proxy model that nothing uses", status=204, tags=_T, errors=(409,),
    ),
)  # fmt: skip
"""Everything about proxy models."""
