from runtime import ApplicationError, HttpRouter, Response, http_action, internal

http = HttpRouter()


@http.route(path="/call/{module}/{name}", method="POST")
@http_action
async def call(ctx, request):
    module, name = request.path_params["module"], request.path_params["name"]
    try:
        return Response.json(await ctx.run_action(f"{module}:{name}", await request.json()))
    except ApplicationError as error:
        return Response.json({"data": error.data}, status=422)
    except Exception as error:
        return Response.json({"error": f"{type(error).__name__}: {error}"}, status=500)


@http.route(path="/hidden", method="GET")
@http_action
async def hidden(ctx, request):
    return Response.json(await ctx.run_action(internal.machine.whoami))
