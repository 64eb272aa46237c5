"""How programs reach the control plane: saved contexts, and HTTP.

``address`` what may be an address · ``contexts`` the file of saved servers and log-ins · ``target`` which server and which
bearer a command uses · ``http`` requests, answers and their errors. The first three import nothing heavy.
"""
