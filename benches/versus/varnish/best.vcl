# The same as no-grace.vcl, and a barrier of our own: for a minute after a write, longer than any fetch takes, its URL is
# passed, and what was on its way is not stored. The times stand in vmod_var (package varnish-modules), one for each URL
# that was ever written, and are never freed.
vcl 4.1;

import std;
import var;

backend default {
    .host = "127.0.0.1";
    .port = "@origin@";
    .first_byte_timeout = 30s;
    .between_bytes_timeout = 10s;
}

sub vcl_recv {
    if (req.method != "GET" && req.method != "HEAD") {
        var.global_set(req.url, now + 60s);
        ban("req.url == " + req.url);
        return (pass);
    }
    if (std.time(var.global_get(req.url), std.real2time(0, now)) > now) {
        return (pass);
    }
    return (hash);
}

sub vcl_hash {
    hash_data(req.http.Authorization);
}

sub vcl_backend_response {
    set beresp.grace = 0s;
    if (bereq.method != "GET" && bereq.method != "HEAD") {
        var.global_set(bereq.url, now + 60s);
        ban("req.url == " + bereq.url);
    } else if (std.time(var.global_get(bereq.url), std.real2time(0, now)) > now) {
        set beresp.ttl = 0s;
    }
}
