wrk.method = "POST"
wrk.body = '{"author": "User 123", "body": "Hello world"}'
wrk.headers["Content-Type"] = "application/json"
