"""The Azure Functions entry point: one FunctionApp that registers the service's functions, and nothing else."""

import os

import azure.functions as func

from vending.http import blueprint

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
app.register_functions(blueprint(os.environ))
