"""What a decision costs: in process, from the database, over HTTP. ``make bench-decision`` runs it.

``policies`` the rules and the people they are about · ``stores`` the databases they are put into · ``rounds`` taking turns with
the clock · ``peers`` stock Casbin and cedarpy · ``in_process``, ``first_decision``, ``over_http`` what is measured ·
``served`` and ``load`` the two other processes of the last · ``report`` and ``plot`` what is written.
"""
