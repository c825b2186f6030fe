local kumo = require 'kumo'
local shaping = require 'policy-extras.shaping'
local queue_module = require 'policy-extras.queue'

-- kumo.start_esmtp_listener { listen = '0:1' } is only a comment
kumo.on('init', function()
  kumo.start_esmtp_listener {
    listen = '0:2525',
    hostname = 'mta.shop.example',
    relay_hosts = { '127.0.0.1', '10.0.0.0/24' },
    max_message_size = 20971520,
    banner = "hello [[ there",
    trace_headers = { received_header = true },
    wobble = 3,
    meta = make_meta(1, { 2 }),
  }
  kumo.start_http_listener { listen = '127.0.0.1:8000' }
  kumo.define_spool {
    name = 'data',
    path = '/var/spool/kumomta/data',
    kind = 'RocksDB',
  }
  kumo.configure_local_logs {
    log_dir = '/var/log/kumomta',
    max_segment_duration = '1 minute',
    headers = { 'Subject' },
  }
  kumo.frobnicate()
end)

local shaper = shaping:setup_with_automation {
  extra_files = { '/opt/kumomta/etc/policy/mine_shaping.toml' },
}
queue_module:setup { '/opt/kumomta/etc/policy/queues.toml' }
