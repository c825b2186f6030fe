#!/usr/bin/perl
# The same with Mail::DKIM: `verifier.pl RECORDS FILE...`; RECORDS has lines of name, tab, text.
use strict;
use warnings;
use Mail::DKIM::Verifier;
use Mail::DKIM::DNS;

my (%records, $path);
open(my $records, '<', shift @ARGV) or die;
while (<$records>) { chomp; my ($name, $text) = split /\t/; $records{$name} = $text; }

package Records;
sub new { bless {}, shift }
sub send { my ($self, $name) = @_; return Records::Packet->new($records{lc $name}); }
sub query { my $self = shift; return $self->send(@_); }
sub errorstring { 'NXDOMAIN' }
package Records::Packet;
sub new { my ($class, $text) = @_; return unless defined $text; return bless { text => $text }, $class; }
sub answer { return Records::Text->new($_[0]{text}); }
sub header { return $_[0] }
sub rcode { 'NOERROR' }
package Records::Text;
sub new { my ($class, $text) = @_; return bless { text => $text }, $class; }
sub type { 'TXT' }
sub txtdata { return $_[0]{text} }
sub char_str_list { return ($_[0]{text}) }
package main;

Mail::DKIM::DNS::resolver(Records->new);
for my $path (@ARGV) {
    my $checked = Mail::DKIM::Verifier->new;
    open(my $file, '<:raw', $path) or die;
    while (my $line = <$file>) { $checked->PRINT($line); }
    $checked->CLOSE;
    print join(' ', map { $_->domain . '/' . $_->selector . '=' . $_->result } $checked->signatures), "\n";
}
