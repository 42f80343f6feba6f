# frozen_string_literal: true

require "sidekiq"

QUEUE = ENV.fetch("PEER_QUEUE")
redis = {url: ENV.fetch("PEER_REDIS_URL")}
Sidekiq.configure_client { |config| config.redis = redis }

# Each thread counts in a cell of its own, so no job waits for a lock.
module Counter
  @cells = []
  @lock = Mutex.new

  def self.count_job
    (Thread.current[:finished_jobs] ||= new_cell)[0] += 1
  end

  def self.new_cell
    cell = [0]
    @lock.synchronize { @cells << cell }
    cell
  end

  def self.write_regularly
    file = File.open(File.join(ENV.fetch("PEER_COUNTERS"), Process.pid.to_s), "wb")
    Thread.new do
      loop do
        file.pwrite([@cells.sum(&:first)].pack("Q"), 0)
        sleep 0.05
      end
    end
  end
end

Sidekiq.configure_server do |config|
  config.redis = redis
  config.logger.level = Logger::WARN
  config.on(:startup) { Counter.write_regularly }
end

class NoOp
  include Sidekiq::Worker
  sidekiq_options queue: QUEUE

  def perform
    Counter.count_job
  end
end

# "ruby sidekiq_app.rb N" publishes N jobs and prints the seconds it took.
if $PROGRAM_NAME == __FILE__
  start = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  Array.new(Integer(ARGV[0])) { [] }.each_slice(1000) do |arguments|
    Sidekiq::Client.push_bulk("class" => NoOp, "args" => arguments)
  end
  puts Process.clock_gettime(Process::CLOCK_MONOTONIC) - start
end
