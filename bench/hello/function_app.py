"""The least that an app on the Functions host can be: what it costs is the host's share of every request."""

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
_BODY = b'{"access_token":"' + b"x" * 1200 + b'"}'


@app.function_name("token")
@app.route(route="token")
async def token(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Answer with as much as the service does."""
    req.get_body()
    return func.HttpResponse(_BODY, mimetype="application/json")
