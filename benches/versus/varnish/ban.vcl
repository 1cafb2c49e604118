# Varnish for an API: callers are kept apart by their credentials instead of passed, and an unsafe method that succeeds bans
# what is stored of its URL, for all callers, before its answer is delivered.
vcl 4.1;

backend default {
    .host = "127.0.0.1";
    .port = "@origin@";
}

sub vcl_recv {
    if (req.method == "GET" || req.method == "HEAD") {
        return (hash);
    }
    return (pass);
}

sub vcl_hash {
    hash_data(req.http.Authorization);
}

sub vcl_backend_response {
    if (bereq.method != "GET" && bereq.method != "HEAD" && beresp.status < 400) {
        ban("req.url == " + bereq.url);
    }
}
