"""The HTTP interface: routes translate, services decide and write, one place builds.

``app`` builds · ``operations`` what a route is and which guard it names · ``dispatch`` how every one of them runs ·
``access`` who is asking · ``bodies`` reading JSON strictly · ``problems`` errors as answers · ``openapi`` the description ·
``…_routes`` the table of contents.
"""
