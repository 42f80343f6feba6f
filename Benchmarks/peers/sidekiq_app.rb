# frozen_string_literal: true

# The job of Sidekiq's workers. "ruby sidekiq_app.rb N" publishes N jobs and prints the seconds it took.

require "sidekiq"

QUEUE = ENV.fetch("PEER_QUEUE")
REDIS = {url: ENV.fetch("PEER_REDIS_URL")}.freeze
# Each thread counts in a cell of its own, so no job waits for a lock.
CELLS = []

# Sidekiq 6 calls its Redis client in an old way, for which the client would log a warning with each job.
Redis.silence_deprecations = true if defined?(Redis) && Redis.respond_to?(:silence_deprecations=)

class NoOp
  include Sidekiq::Worker
  sidekiq_options queue: QUEUE

  def perform
    cell = Thread.current[:finished_jobs] ||= [0].tap { |new_cell| CELLS << new_cell }
    cell[0] += 1
  end
end

def write_counter_regularly
  file = File.open(File.join(ENV.fetch("PEER_COUNTERS"), Process.pid.to_s), "wb")
  loop do
    file.pwrite([CELLS.sum(&:first)].pack("Q"), 0)
    sleep 0.05
  end
end

Sidekiq.configure_client { |config| config.redis = REDIS }
Sidekiq.configure_server do |config|
  config.redis = REDIS
  config.logger.level = Logger::WARN
  config.on(:startup) { Thread.new { write_counter_regularly } }
end

if $PROGRAM_NAME == __FILE__
  start = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  Array.new(Integer(ARGV.first)) { [] }.each_slice(1000) do |arguments|
    Sidekiq::Client.push_bulk("class" => NoOp, "args" => arguments)
  end
  puts Process.clock_gettime(Process::CLOCK_MONOTONIC) - start
end
