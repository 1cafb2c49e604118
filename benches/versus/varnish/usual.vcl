# Varnish as it comes: the built-in VCL in front of one backend.
vcl 4.1;

backend default {
    .host = "127.0.0.1";
    .port = "@origin@";
}
