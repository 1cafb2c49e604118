# The same as ban.vcl, with the ban before the origin is asked as well as after, and without grace: nothing is answered past
# its time.
vcl 4.1;

backend default {
    .host = "127.0.0.1";
    .port = "@origin@";
}

sub vcl_recv {
    if (req.method == "GET" || req.method == "HEAD") {
        return (hash);
    }
    ban("req.url == " + req.url);
    return (pass);
}

sub vcl_hash {
    hash_data(req.http.Authorization);
}

sub vcl_backend_response {
    if (bereq.method != "GET" && bereq.method != "HEAD") {
        ban("req.url == " + bereq.url);
    }
    set beresp.grace = 0s;
}
