# Varnish for speed: the built-in VCL, which keeps connections to the origin, and one path that is passed. It is started with
# its storage in memory (malloc), its log on tmpfs, and as many threads as there are clients.
vcl 4.1;

backend default {
    .host = "127.0.0.1";
    .port = "@origin@";
}

sub vcl_recv {
    if (req.url ~ "^/pass/") {
        return (pass);
    }
}
