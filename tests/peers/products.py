"""The `products` subgraph of Apollo's compatibility tests, behind our view and executor. Prints its port.

Its types are those of the tests' products.graphql. What is tried is ours: how requests are read, limited and answered,
and that entities go through the executor. Federated tracing, which one of the tests asks for, we do not offer;
strawberry's extension adds it here.
"""

from __future__ import annotations

import socket
import sys
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import strawberry
import uvicorn
from graphql import ExecutionResult, MiddlewareManager
from starlette.requests import Request
from starlette.types import Receive, Scope, Send
from strawberry import federation
from strawberry.extensions.tracing.apollo_federation import ApolloFederationTracingExtension as FederatedTracing
from strawberry.schema_directive import Location

from sharewell_schema.asked import Asked
from sharewell_schema.documents import Document
from sharewell_schema.executor import FastExecutor
from sharewell_schema.view import View


@federation.schema_directive(
    locations=[Location.OBJECT], name="custom", compose=True, import_url="https://myspecs.dev/myCustomDirective/v1.0"
)
class Custom: ...


@strawberry.type
class ProductVariation:
    id: strawberry.ID


@federation.type(shareable=True)
class ProductDimension:
    size: str | None
    weight: float | None
    unit: str | None = federation.field(inaccessible=True)


@strawberry.type
class CaseStudy:
    case_number: strawberry.ID
    description: str | None


@federation.type(keys=["study { caseNumber }"])
class ProductResearch:
    study: CaseStudy
    outcome: str | None

    @classmethod
    def resolve_reference(cls, study: Any) -> ProductResearch | None:
        return next((each for each in RESEARCH if each.study.case_number == study["caseNumber"]), None)


@federation.type(keys=["email"], extend=True)
class User:
    email: strawberry.ID = federation.field(external=True)
    name: str | None = federation.field(override="users")
    total_products_created: int | None = federation.field(external=True)
    years_of_employment: int = federation.field(external=True)

    @federation.field(requires=["totalProductsCreated", "yearsOfEmployment"])
    def average_products_created_per_year(self) -> int | None:
        if self.total_products_created is None:
            return None
        return round(self.total_products_created / self.years_of_employment)

    @classmethod
    def resolve_reference(cls, email: Any, **required: Any) -> User | None:
        if email != JANE.email:
            return None
        return User(
            email=JANE.email, name=JANE.name, total_products_created=required.get("totalProductsCreated", 1337),
            years_of_employment=required.get("yearsOfEmployment", 10),
        )  # fmt: skip


@federation.type(keys=["sku package"])
class DeprecatedProduct:
    sku: str
    package: str
    reason: str | None
    created_by: User | None

    @classmethod
    def resolve_reference(cls, sku: Any, package: Any) -> DeprecatedProduct | None:
        return OLD if (sku, package) == (OLD.sku, OLD.package) else None


@federation.type(keys=["id", "sku package", "sku variation { id }"], directives=[Custom()])
class Product:
    id: strawberry.ID
    sku: str | None
    package: str | None
    variation: ProductVariation | None
    dimensions: ProductDimension | None
    created_by: User | None = federation.field(provides=["totalProductsCreated"])
    notes: str | None = federation.field(tags=["internal"])
    research: list[ProductResearch]

    @classmethod
    def resolve_reference(cls, **key: Any) -> Product | None:
        return next((each for each in PRODUCTS if _is(each, key)), None)


@federation.interface_object(keys=["id"])
class Inventory:
    id: strawberry.ID
    deprecated_products: list[DeprecatedProduct]

    @classmethod
    def resolve_reference(cls, id: Any) -> Inventory:  # noqa: A002
        return Inventory(id=id, deprecated_products=[OLD])


def _is(product: Product, key: dict[str, Any]) -> bool:
    if "id" in key:
        return bool(product.id == key["id"])
    if product.sku != key["sku"]:
        return False
    if "package" in key:
        return bool(product.package == key["package"])
    return product.variation is not None and bool(product.variation.id == key["variation"]["id"])


# Names and values below are the fixed data that the tests look for.
JANE = User(
    email=strawberry.ID("support@apollographql.com"), name="Jane Smith", total_products_created=1337,
    years_of_employment=10,
)  # fmt: skip
OLD = DeprecatedProduct(
    sku="apollo-federation-v1", package="@apollo/federation-v1", reason="Migrate to Federation V2", created_by=JANE
)
RESEARCH = [
    ProductResearch(study=CaseStudy(case_number=strawberry.ID("1234"), description="Federation Study"), outcome=None),
    ProductResearch(study=CaseStudy(case_number=strawberry.ID("1235"), description="Studio Study"), outcome=None),
]
SMALL = ProductDimension(size="small", weight=1, unit="kg")
PRODUCTS = [
    Product(
        id=strawberry.ID(name), sku=sku, package=package, variation=ProductVariation(id=strawberry.ID(variation)),
        dimensions=SMALL, created_by=JANE, notes=None, research=[research],
    )
    for name, sku, package, variation, research in (
        ("apollo-federation", "federation", "@apollo/federation", "OSS", RESEARCH[0]),
        ("apollo-studio", "studio", "", "platform", RESEARCH[1]),
    )
]  # fmt: skip


@strawberry.type
class Query:
    @strawberry.field
    def product(self, id: strawberry.ID) -> Product | None:  # noqa: A002
        return Product.resolve_reference(id=id)

    @strawberry.field(deprecation_reason="Use product query instead")
    def deprecated_product(self, sku: str, package: str) -> DeprecatedProduct | None:
        return DeprecatedProduct.resolve_reference(sku, package)


class Traced(View):
    """Our view, and the trace that a gateway asks for by a header."""

    async def _run(self, asked: Asked, document: Document, context: Any) -> ExecutionResult:
        with contextmanager(context.on_operation)():
            result = await super()._run(asked, document, context)
        result.extensions = context.get_results()
        return result


class TracedExecutor(FastExecutor):
    """Our executor, and what it resolves by the way of a trace."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.middleware_manager = MiddlewareManager(self.context_value)


schema = federation.Schema(Query, types=[User, Inventory, ProductResearch], federation_version="2.3")
view = Traced(schema, lambda trace, _document: trace, TracedExecutor)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        trace: Any = FederatedTracing()
        request = Request({**scope, "state": {"caller": trace}}, receive)
        trace.execution_context = SimpleNamespace(context=SimpleNamespace(request=request))
        response = await view.answer(request)
        await response(scope, receive, send)


if __name__ == "__main__":
    server = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"{server.getsockname()[1]}\n")
    sys.stdout.flush()
    uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off")).run([server])
