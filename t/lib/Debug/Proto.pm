package Debug::Proto;

# Reads what /debug/metrics answers as protobuf, a row of
# io.prometheus.client.MetricFamily, each behind its length.
#
# Format: https://github.com/prometheus/client_model, metrics.proto

use strict;
use warnings;

use Exporter 'import';

our @EXPORT = qw/ proto_families proto_series /;


sub varint {
    my ($data, $pos) = @_;
    my ($n, $shift) = (0, 0);

    for (;;) {
        die "a number goes beyond the end\n" if $$pos >= length $$data;
        my $byte = ord substr $$data, $$pos++, 1;

        $n |= ($byte & 127) << $shift;
        return $n if $byte < 128;

        $shift += 7;
        die "a number has too many bytes\n" if $shift > 63;
    }
}


# All fields of a message: its number, and each of its values as it stands.

sub fields {
    my ($data) = @_;
    my ($pos, %f) = (0);

    while ($pos < length $data) {
        my $key = varint(\$data, \$pos);
        my ($field, $type) = ($key >> 3, $key & 7);

        die "field 0\n" if $field == 0;

        if ($type == 0) {
            push @{ $f{$field} }, varint(\$data, \$pos);

        } elsif ($type == 1 || $type == 2) {
            my $len = $type == 1 ? 8 : varint(\$data, \$pos);

            die "field $field goes beyond the end\n"
                if $len > length($data) - $pos;
            push @{ $f{$field} }, substr $data, $pos, $len;
            $pos += $len;

        } else {
            die "field $field is of type $type\n";
        }
    }

    return \%f;
}


# The one value of a field, or undef.

sub one {
    my ($f, $field) = @_;
    my $values = $f->{$field} or return;

    die "field $field comes twice\n" if @$values > 1;
    return $values->[0];
}


sub double { return defined $_[0] ? unpack 'd<', $_[0] : 0 }

sub signed { return $_[0] & 1 ? -(($_[0] >> 1) + 1) : $_[0] >> 1 }

sub text {
    my ($s) = @_;
    utf8::decode(my $copy = $s) or die "'$s' is not UTF-8\n";
    return $s;
}


sub created {
    my ($s) = @_;
    return unless defined $s;
    return one(fields($s), 1);
}


# A native histogram: count, sum, schema, zero, zeros, created, and the count
# of each bucket by its number.

sub histogram {
    my ($f) = @_;
    my %h = (count => one($f, 1) // 0, sum => double(one($f, 2)),
             schema => signed(one($f, 5) // 0), zero => double(one($f, 6)),
             zeros => one($f, 7) // 0, created => created(one($f, 15)),
             spans => scalar @{ $f->{12} // [] }, bucket => {});
    my ($deltas, $pos, $index, $count) = (one($f, 13) // '', 0, 0, 0);

    for my $span (@{ $f->{12} // [] }) {
        my $s = fields($span);

        $index += signed(one($s, 1) // 0);

        for (1 .. one($s, 2) // 0) {
            $count += signed(varint(\$deltas, \$pos));
            die "bucket $index has $count\n" if $count < 0;
            $h{bucket}{$index++} = $count;
        }
    }

    die "more differences than buckets\n" if $pos != length $deltas;

    return \%h;
}


# Each family: name, help, type, and its metrics: labels, in their order, and
# value or histogram.

sub proto_families {
    my ($data) = @_;
    my ($pos, @families) = (0);
    my %type = (0 => 'counter', 1 => 'gauge', 4 => 'histogram');

    while ($pos < length $data) {
        my $len = varint(\$data, \$pos);

        die "a family goes beyond the end\n" if $len > length($data) - $pos;

        my $f = fields(substr $data, $pos, $len);
        $pos += $len;

        my %family = (name => text(one($f, 1)), help => text(one($f, 2)),
                      type => $type{one($f, 3)} // die("unknown type\n"),
                      metrics => []);

        for my $metric (@{ $f->{4} // [] }) {
            my $m = fields($metric);
            my %metric = (labels => []);

            for my $pair (@{ $m->{1} // [] }) {
                my $l = fields($pair);
                push @{ $metric{labels} }, [text(one($l, 1)),
                                            text(one($l, 2))];
            }

            my $field = { gauge => 2, counter => 3,
                          histogram => 7 }->{$family{type}};
            my $value = fields(one($m, $field)
                               // die "$family{name}: no $family{type}\n");

            if ($family{type} eq 'histogram') {
                $metric{histogram} = histogram($value);

            } else {
                $metric{value} = double(one($value, 1));
                $metric{created} = created(one($value, 3));
            }

            push @{ $family{metrics} }, \%metric;
        }

        push @families, \%family;
    }

    return @families;
}


# The same as text has it: name{labels} of each, and what it is.

sub proto_series {
    my ($data) = @_;
    my %series;

    for my $family (proto_families($data)) {
        for my $m (@{ $family->{metrics} }) {
            my $labels = join ',', map {
                my ($name, $value) = @$_;
                $value =~ s/([\\"])/\\$1/g;
                $value =~ s/\n/\\n/g;
                qq{$name="$value"};
            } @{ $m->{labels} };
            my $name = $family->{name} . ($labels ne '' ? "{$labels}" : '');

            die "$name comes twice\n" if $series{$name};
            $series{$name} = { %$m, type => $family->{type} };
        }
    }

    return \%series;
}

1;
