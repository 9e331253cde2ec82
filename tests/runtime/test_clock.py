import threading

from runtime.clock import VirtualClock, WallClock


def test_virtual_clock_only_moves_forward() -> None:
    clock = VirtualClock()
    clock.sleep_until(5.0)
    clock.sleep_until(3.0)
    assert clock.now_s() == 5.0
    assert clock.arrival_s(2.0) == 2.0


def test_virtual_clock_keeps_the_latest_time_of_many_threads() -> None:
    clock = VirtualClock()
    threads = [threading.Thread(target=clock.sleep_until, args=(float(i),)) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.now_s() == 19.0


def test_wall_clock_starts_at_zero_and_never_wakes_early() -> None:
    clock = WallClock()
    assert 0.0 <= clock.now_s() < 1.0
    target = clock.now_s() + 0.003
    clock.sleep_until(target)
    assert clock.now_s() >= target
    before = clock.now_s()
    clock.sleep_until(0.0)
    assert clock.now_s() - before < 1.0


def test_wall_clock_commands_arrive_no_earlier_than_now() -> None:
    clock = WallClock()
    clock.sleep_until(0.002)
    assert clock.arrival_s(0.0) >= 0.002
    assert clock.arrival_s(100.0) == 100.0
