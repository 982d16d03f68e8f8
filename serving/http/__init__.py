"""Requests and answers: connections, routes, keys, errors, and the server's state behind them."""
