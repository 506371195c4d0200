#!/usr/bin/perl

# TLS handshakes with peers: begun, and come to nothing, for each peer; in
# nginx's own numbers they look like connections that were refused.

use strict;
use warnings;

use Test::More;

use Debug::Nginx;

need_bin('openssl');

my $t = Debug::Nginx->new();

my $r = run_cmd([qw/ openssl req -x509 -newkey rsa:2048 -nodes -days 3 -keyout
					 key.pem -out cert.pem -subj /, '/CN=localhost'],
				cwd => $t->dir());
die "openssl: $r->{err}" if $r->{exit};

my $dead = free_port();

$t->write_conf(<<"EOC")->run();
%%TEST_GLOBALS%%
events { }
http {
    %%TEST_GLOBALS_HTTP%%

    upstream good { server 127.0.0.1:%%PORT_1%%; keepalive 4; }
    upstream two {
        server 127.0.0.1:%%PORT_2%% weight=9;
        server 127.0.0.1:%%PORT_1%%;
    }
    upstream dead { server 127.0.0.1:$dead; }
    upstream unknown { server 127.0.0.1:%%PORT_1%%; }

    proxy_http_version 1.1;
    proxy_set_header Connection "";

    server {
        listen 127.0.0.1:%%PORT_0%%;

        location /good { proxy_pass https://good; }
        location /new {
            proxy_ssl_session_reuse off;
            proxy_set_header Connection close;
            proxy_pass https://good;
        }
        location /two { proxy_pass https://two; }
        location /dead { proxy_pass https://dead; }
        location /unknown {
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate %%DIR%%/cert.pem;
            proxy_ssl_name somebody;
            proxy_pass https://unknown;
        }
        location /plain { proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location /var { set \$to 127.0.0.1:%%PORT_1%%; proxy_pass https://\$to; }
        location /var_unknown {
            set \$to 127.0.0.1:%%PORT_1%%;
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate %%DIR%%/cert.pem;
            proxy_ssl_name somebody;
            proxy_pass https://\$to;
        }
        location /var_plain { set \$to 127.0.0.1:%%PORT_2%%; proxy_pass https://\$to; }
        location /var_dead { set \$to 127.0.0.1:$dead; proxy_pass https://\$to; }
        location /debug/ { debug stats; }
    }

    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        ssl_certificate %%DIR%%/cert.pem;
        ssl_certificate_key %%DIR%%/key.pem;
        debug_record off;
        return 200 "tls";
    }

    server {
        listen 127.0.0.1:%%PORT_2%%;
        debug_record off;
        return 200 "plain";
    }
}
EOC

sub shaken {
	my ($group) = @_;
	my $g = decode_json(http_get('/debug/stats')->{body})->{upstreams}{$group};
	my @p = map { $g->{peers}{$_} } sort keys %{ $g->{peers} };

	return join ' ', map { "$_->{tls_handshakes}/$_->{tls_handshake_failures}" }
		$g, @p;
}

is(http_get('/good')->{status}, 200, 'an answer by TLS') for 1 .. 3;
is(shaken('good'), '1/0 1/0', 'a kept connection was shaken once');

# the first has the kept one
http_get('/new') for 1 .. 3;
is(shaken('good'), '3/0 3/0', 'one that is not kept, each time');

is(http_get('/unknown')->{status}, 502, 'a certificate of somebody else');
is(shaken('unknown'), '1/1 1/1', 'is a failure');

is(http_get('/dead')->{status}, 502, 'a refused connection');
is(shaken('dead'), '0/0 0/0', 'is no handshake');

is(http_get('/two')->{status}, 200, 'what is no TLS, and then what is');
my $s = decode_json(http_get('/debug/stats')->{body})->{upstreams}{two};
is("$s->{tls_handshakes} $s->{tls_handshake_failures} $s->{tries}", '2 1 2',
   'of the group both');
my $p = $s->{peers}{ "127.0.0.1:" . port(2) };
is("$p->{tls_handshakes} $p->{tls_handshake_failures}", '1 1', 'the failure');
($p) = map { $s->{peers}{$_} } grep { $_ ne "127.0.0.1:" . port(2) }
	keys %{ $s->{peers} };
is("$p->{tls_handshakes} $p->{tls_handshake_failures}", '1 0', 'and the other');

http_get('/plain');
is(shaken("127.0.0.1:" . port(2)), '0/0 0/0', 'without TLS there is none');

# names that variables make

is(http_get('/var')->{status}, 200, 'a variable host');
is(shaken("127.0.0.1:" . port(1)), '1/0 1/0', 'its handshake');
is(http_get('/var_unknown')->{status}, 502, 'a variable host of another name');
is(shaken("127.0.0.1:" . port(1)), '2/1 2/1', 'its failure');
is(http_get('/var_plain')->{status}, 502, 'a variable host without TLS');
is(shaken("127.0.0.1:" . port(2)), '1/1 1/1', 'its failure');
is(http_get('/var_dead')->{status}, 502, 'a variable host that refuses');
is(shaken("127.0.0.1:$dead"), '0/0 0/0', 'no handshake');

like(http_get('/debug/metrics')->{body},
	 qr/^nginx_debug_peer_tls_handshakes_total\{upstream="good",[^}]*\}\ 3$/mx,
	 'and in /debug/metrics');

done_testing();
