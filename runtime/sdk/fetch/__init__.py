"""What the Fetch API and its neighbours define: requests, responses, headers, bodies, forms, URLs, signals."""
